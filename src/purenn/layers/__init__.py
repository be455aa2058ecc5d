"""Layers: a model is three pure functions over a parameter dict.

Leaf names and layouts are Flax's, so the parameters of ``serial(hidden=dense(128), act=relu,
out=dense(10))`` are the ``params`` collection of a ``flax.linen`` module with submodules of the
same names: ``params["hidden"]["kernel"]`` has shape (in, out). A layer without parameters has no
entry.

A layer refuses what does not fit with a few comparisons per call, and the message leads to it:
``encoder: hidden: dense: x has 63 features, kernel expects 64``.
"""

from purenn.layers.activations import (
    activation,
    bipolar_relu,
    celu,
    elu,
    eru,
    gelu,
    glu,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    heaviside,
    identity,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    maxout,
    mish,
    oru,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_exponential,
    soft_sign,
    softmax,
    softplus,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    standardize,
    swish,
    tanh,
)
from purenn.layers.attention import multi_head_attention
from purenn.layers.combinators import residual, serial
from purenn.layers.convolution import conv, conv_transpose
from purenn.layers.core import Layer, State, vjp_of
from purenn.layers.dropout import (
    drop_block,
    dropout,
    gaussian_dropout,
    max_drop,
    spatial_dropout,
    stochastic_dropout,
)
from purenn.layers.linear import dense, embedding
from purenn.layers.normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    rms_norm,
)
from purenn.layers.pooling import avg_pool, global_avg_pool, global_max_pool, max_pool
from purenn.layers.recurrence import gru, lstm, rnn
from purenn.layers.resizing import upsample_nearest
from purenn.layers.shapes import flatten

__all__ = [
    "Layer",
    "State",
    "activation",
    "avg_pool",
    "batch_norm",
    "bipolar_relu",
    "celu",
    "conv",
    "conv_transpose",
    "dense",
    "drop_block",
    "dropout",
    "elu",
    "embedding",
    "eru",
    "flatten",
    "gaussian_dropout",
    "gelu",
    "global_avg_pool",
    "global_max_pool",
    "glu",
    "group_norm",
    "gru",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "heaviside",
    "identity",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "local_response_norm",
    "log_sigmoid",
    "log_softmax",
    "lstm",
    "max_drop",
    "max_pool",
    "maxout",
    "mish",
    "multi_head_attention",
    "oru",
    "prelu",
    "relu",
    "relu6",
    "residual",
    "rms_norm",
    "rnn",
    "selu",
    "serial",
    "sigmoid",
    "silu",
    "soft_exponential",
    "soft_sign",
    "softmax",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "spatial_dropout",
    "squareplus",
    "standardize",
    "stochastic_dropout",
    "swish",
    "tanh",
    "upsample_nearest",
    "vjp_of",
]
