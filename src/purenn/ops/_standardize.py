"""Standardization over some axes and its pullback: what all normalizations share."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from purenn.errors import DomainError
from purenn.ops._numerics import widen
from purenn.typing import Array, Shape


class Standardized(NamedTuple):
    """z with its statistics, all in the dtype of ``widen(x)``, reduced axes kept with size 1."""

    z: Array
    """(x − mean)/σ."""
    inverse: Array
    """1/σ = 1/√(variance + ε), and 0 where both are 0."""
    mean: Array
    variance: Array
    """The biased one, mean((x − mean)²)."""


def standardize(x: Array, axes: Shape, epsilon: float, center: bool = True) -> Standardized:
    """z = (x − mean(x))/√(mean((x − mean(x))²) + ε) over ``axes``; without ``center`` mean is 0.

    E[x²] − E[x]² is one pass less over x and loses every digit of the variance where |mean| is
    large against σ: here the mean is subtracted, then squared. Before that one x is subtracted
    from all: of equal numbers nothing remains, not even rounding, and ε may be 0.
    Squares that leave the range of the dtype are computed again, scaled by a power of two.
    Over no elements mean and variance are 0.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        y = _standardize(x, axes, epsilon, center)
        info = np.finfo(y.z.dtype)
        square = y.variance + epsilon
        if np.all((square >= info.tiny / info.eps) & (square <= info.max)):
            return y
        x = widen(x)
        top = np.max(np.abs(x), axis=axes, keepdims=True, initial=math.sqrt(epsilon))
        power = np.frexp(top)[1]
        y = _standardize(np.ldexp(x, -power), axes, np.ldexp(epsilon, -2 * power), center)
        return Standardized(
            y.z,
            np.ldexp(y.inverse, -power),
            np.ldexp(y.mean, power),
            np.ldexp(y.variance, 2 * power),
        )


def _standardize(x: Array, axes: Shape, epsilon: float | Array, center: bool) -> Standardized:
    dtype = np.dtype(np.float32 if x.dtype.itemsize == 2 else np.float64)
    count = max(math.prod(x.shape[axis] for axis in axes), 1)
    kept = {axis % x.ndim for axis in axes}
    one = tuple(slice(0, 1) if axis in kept else slice(None) for axis in range(x.ndim))
    shift = x[one].astype(dtype) if center and x.size else np.zeros((), dtype)
    d = np.subtract(x, shift, dtype=dtype)
    mean = np.sum(d, axis=axes, keepdims=True) / count if center else np.zeros((), dtype)
    if center:
        d -= mean
    variance = np.sum(np.square(d), axis=axes, keepdims=True) / count
    root = np.sqrt(variance + epsilon).astype(dtype)
    inverse = np.divide(1, root, out=np.zeros_like(root), where=root != 0)
    d *= inverse
    return Standardized(d, inverse, shift + mean, variance)


def standardize_vjp(
    x: Array, axes: Shape, epsilon: float, center: bool = True
) -> tuple[Standardized, Callable[[Array], Array]]:
    """Standardize with its pullback, from the cotangent of z to that of x.

    With c = dz − mean(dz): dx = (c − z·mean(c·z))/σ; without ``center`` c is dz.
    A constant in dz is taken out before the product with z, where it would have to cancel.
    Over two numbers (one without ``center``) c is a multiple of z, and all of it cancels but the
    part ε/σ²: dx = c·ε/σ³, written so. The pullback keeps z: return a copy of it.
    """
    y = standardize(x, axes, epsilon, center)
    count = max(math.prod(x.shape[axis] for axis in axes), 1)

    def pullback(dz: Array) -> Array:
        c = dz - np.sum(dz, axis=axes, keepdims=True) / count if center else dz
        if count - center == 1:
            return np.asarray(c * (epsilon * y.inverse**3))
        along = np.sum(c * y.z, axis=axes, keepdims=True) / count
        return np.asarray((c - y.z * along) * y.inverse)

    return y, pullback


def check_epsilon(name: str, epsilon: float) -> None:
    """Refuse a negative ``epsilon``, and one that is no number."""
    if not 0 <= epsilon < math.inf:
        raise DomainError(f"{name}: epsilon is {epsilon}, expected ≥ 0")
