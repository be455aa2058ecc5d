"""What the losses of classification share."""

import numpy as np

from purenn.ops._numerics import quiet
from purenn.typing import Array, Values


@quiet
def weighted(q: Values, x: Values) -> Array:
    """q·x with 0·∞ = 0, the limit of q·log q."""
    return np.asarray(np.where(q == 0, 0, q * x))


def binary_cross_entropy_terms(x: Values, q: Values) -> Array:
    """−q·log σ(x) − (1 − q)·log σ(−x), unrounded."""
    linear = weighted(q, np.maximum(-x, 0)) + weighted(1 - q, np.maximum(x, 0))
    return np.asarray(linear + np.log1p(np.exp(-np.abs(x))))
