"""Activation functions, elementwise or along an axis; names and arguments are ``jax.nn``'s."""

from purenn.ops.activations.gated import (
    silu,
    silu_vjp,
)
from purenn.ops.activations.gelu import (
    gelu,
    gelu_vjp,
)
from purenn.ops.activations.piecewise import (
    leaky_relu,
    leaky_relu_vjp,
    relu,
    relu_vjp,
)
from purenn.ops.activations.sigmoids import (
    sigmoid,
    sigmoid_vjp,
    softplus,
    softplus_vjp,
    tanh,
    tanh_vjp,
)
from purenn.ops.activations.softmax import (
    log_softmax,
    log_softmax_vjp,
    logsumexp,
    logsumexp_vjp,
    softmax,
    softmax_vjp,
    sparsemax,
    sparsemax_vjp,
    standardize,
    standardize_vjp,
)

__all__ = [
    "gelu",
    "gelu_vjp",
    "leaky_relu",
    "leaky_relu_vjp",
    "log_softmax",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_vjp",
    "relu",
    "relu_vjp",
    "sigmoid",
    "sigmoid_vjp",
    "silu",
    "silu_vjp",
    "softmax",
    "softmax_vjp",
    "softplus",
    "softplus_vjp",
    "sparsemax",
    "sparsemax_vjp",
    "standardize",
    "standardize_vjp",
    "tanh",
    "tanh_vjp",
]
