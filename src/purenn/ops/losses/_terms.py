"""What the losses of classification share."""

from functools import cache
from math import factorial

import numpy as np

from purenn.typing import Array


def weighted(q: Array, x: Array) -> Array:
    """q·x with 0·∞ = 0, the limit of q·log q."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(q == 0, 0, q * x))


def above_tangent(u: Array) -> Array:
    """eᵘ − 1 − u ≥ 0, how far the exponential is above its tangent at 0.

    Between −1 and 1 by Taylor's series u²/2! + u³/3! + …, where the terms cancel.
    """
    near = np.clip(u, -1, 1)
    series = np.zeros_like(near)
    for coefficient in _coefficients():
        series = series * near + coefficient
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.where(np.abs(u) < 1, series * near * near, np.expm1(u) - u))


@cache
def _coefficients() -> list[float]:
    """1/20!, …, 1/3!, 1/2!: the next term is 2⁻⁶⁴ of the first."""
    return [1 / factorial(k) for k in range(20, 1, -1)]
