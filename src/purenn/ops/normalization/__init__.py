"""Normalizations, as in ``flax.linen``: statistics over some axes, then scale and shift.

The last axis is that of the features, or channels. Where variance and ε are both 0 there is
nothing to be scaled: x − mean is 0, and so is what becomes of it, where 0/0 would be NaN.
"""

from purenn.ops.normalization.batch import (
    batch_norm,
    batch_norm_inference,
    batch_norm_inference_vjp,
    batch_norm_vjp,
)
from purenn.ops.normalization.constraint import max_norm, max_norm_vjp
from purenn.ops.normalization.features import (
    group_norm,
    group_norm_vjp,
    instance_norm,
    instance_norm_vjp,
    layer_norm,
    layer_norm_vjp,
    rms_norm,
    rms_norm_vjp,
)
from purenn.ops.normalization.local_response import local_response_norm, local_response_norm_vjp

__all__ = [
    "batch_norm",
    "batch_norm_inference",
    "batch_norm_inference_vjp",
    "batch_norm_vjp",
    "group_norm",
    "group_norm_vjp",
    "instance_norm",
    "instance_norm_vjp",
    "layer_norm",
    "layer_norm_vjp",
    "local_response_norm",
    "local_response_norm_vjp",
    "max_norm",
    "max_norm_vjp",
    "rms_norm",
    "rms_norm_vjp",
]
