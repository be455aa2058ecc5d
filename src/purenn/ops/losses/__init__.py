"""Losses, as in ``optax.losses``: the same names, nothing averaged.

The mean over a batch and a weight per example belong to :func:`purenn.training.objective`.
"""

from purenn.ops.losses.cross_entropy import (
    sigmoid_binary_cross_entropy,
    sigmoid_binary_cross_entropy_vjp,
    softmax_cross_entropy,
    softmax_cross_entropy_vjp,
    softmax_cross_entropy_with_integer_labels,
    softmax_cross_entropy_with_integer_labels_vjp,
)
from purenn.ops.losses.regression import (
    squared_error,
    squared_error_vjp,
)

__all__ = [
    "sigmoid_binary_cross_entropy",
    "sigmoid_binary_cross_entropy_vjp",
    "softmax_cross_entropy",
    "softmax_cross_entropy_vjp",
    "softmax_cross_entropy_with_integer_labels",
    "softmax_cross_entropy_with_integer_labels_vjp",
    "squared_error",
    "squared_error_vjp",
]
