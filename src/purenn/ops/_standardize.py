"""Standardization over some axes, scale, shift and their pullback: what all normalizations share.

All of it is computed in float64 and rounded once, block by block of the first axis: a block stays
in the cache, and no array of float64 as large as x is ever made of a smaller dtype.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from purenn.errors import DomainError
from purenn.typing import Array, Shape

_BLOCK = 1 << 16
"""Numbers in a block: 512 KiB."""


class Statistics(NamedTuple):
    """Of x over some axes, which are kept with size 1; float64."""

    mean: Array
    variance: Array
    """The biased one, mean((x − mean)²)."""
    inverse: Array
    """1/σ = 1/√(variance + ε), and 0 where both are 0."""


def statistics(x: Array, axes: Shape, epsilon: float, center: bool = True) -> Statistics:
    """Mean, variance and 1/σ of x over ``axes``; without ``center`` as if the mean were 0.

    E[x²] − E[x]² is one pass less over x and loses every digit of the variance where |mean| is
    large against σ: here the mean is subtracted, then squared. Before that one x is subtracted
    from all: of equal numbers nothing remains, not even rounding, and ε may be 0.
    Squares that leave the range of float64 are computed again, scaled by a power of two.
    Over no elements mean and variance are 0.
    """
    found = _statistics(x, axes, epsilon, center)
    info = np.finfo(np.float64)
    square = found.variance + epsilon
    if np.all((square >= info.tiny / info.eps) & (square <= info.max)):
        return found
    with np.errstate(over="ignore"):
        wide = x.astype(np.float64)
        top = np.max(np.abs(wide), axis=axes, keepdims=True, initial=math.sqrt(epsilon))
        power = np.frexp(top)[1]
        small = np.ldexp(epsilon, -2 * power)
        mean, variance, inverse = _statistics(np.ldexp(wide, -power), axes, small, center)
        return Statistics(
            np.ldexp(mean, power), np.ldexp(variance, 2 * power), np.ldexp(inverse, -power)
        )


def _statistics(x: Array, axes: Shape, epsilon: float | Array, center: bool) -> Statistics:
    count = _count(x, axes)
    if center:
        reduced = {axis % x.ndim for axis in axes}
        first = x[tuple(slice(0, 1 if axis in reduced else None) for axis in range(x.ndim))]
        first = first.astype(np.float64) if x.size else np.zeros(())
        mean = first + _totals(lambda x, first: (x - first,), axes, x, first)[0] / count
        variance = _totals(lambda x, mean: (np.square(x - mean),), axes, x, mean)[0] / count
    else:
        variance = _totals(lambda x: (np.square(x),), axes, x)[0] / count
        mean = np.zeros_like(variance)
    return given(mean, variance, epsilon)


def given(mean: Array, variance: Array, epsilon: float | Array) -> Statistics:
    """The statistics with this mean and variance."""
    root = np.sqrt(variance + epsilon)
    inverse = np.divide(1, root, out=np.zeros_like(root), where=root != 0)
    return Statistics(mean, variance, inverse)


def normalize(
    x: Array, its: Statistics, scale: Array | None = None, bias: Array | None = None
) -> Array:
    """z·scale + bias with z = (x − mean)/σ; both have the shape of the last dimensions of x."""
    slope = its.inverse if scale is None else its.inverse * scale.astype(np.float64)
    if bias is None:
        return _each(lambda x, mean, slope: (x - mean) * slope, x, x, its.mean, slope)
    return _each(
        lambda x, mean, slope, bias: (x - mean) * slope + bias, x, x, its.mean, slope, bias
    )


def normalize_pullback(
    dy: Array,
    x: Array,
    its: Statistics,
    axes: Shape,
    epsilon: float,
    scale: Array | None = None,
    center: bool = True,
    input_cotangent: bool = True,
) -> tuple[Array | None, ...]:
    """(dx, dscale, dbias) of ``normalize``, ``its`` the statistics of x; without scale (dx,).

    With dz = dy·scale and c = dz − mean(dz): dx = (c − z·mean(c·z))/σ; without ``center`` c is
    dz. A constant in dz drops out of c·z, not of dz·z: the sum of z is 0 but for rounding, which
    is measured and taken out. Over two numbers (one without ``center``) c is a multiple of z, and
    all of it cancels but the part ε/σ²: dx = c·ε/σ³, written so.
    dscale = Σ dy·z and dbias = Σ dy over the dimensions that they lack.
    """
    if scale is None:
        found = sums(dy, x, its, axes)
        return (_input_cotangent(dy, x, its, axes, epsilon, np.ones(()), found, center),)
    gain = scale.astype(np.float64)
    lacking = tuple(range(x.ndim - scale.ndim))
    found = sums(dy, x, its, lacking)
    dscale, dbias, _ = (total.reshape(total.shape[len(lacking) :]) for total in found)
    if not input_cotangent:
        return None, dscale, dbias
    if axes == lacking:
        found = [gain * found[0], gain * found[1], found[2]]
    else:
        found = sums(dy, x, its, axes, gain)
    return _input_cotangent(dy, x, its, axes, epsilon, gain, found, center), dscale, dbias


def _input_cotangent(
    dy: Array,
    x: Array,
    its: Statistics,
    axes: Shape,
    epsilon: float,
    scale: Array,
    found: list[Array],
    center: bool,
) -> Array:
    mean, _, inverse = its
    count = _count(x, axes)
    shift = found[1] / count if center else np.zeros(())
    if count - center == 1:
        slope = epsilon * inverse * inverse * inverse
        return _each(
            lambda dy, scale, shift, slope: (dy * scale - shift) * slope,
            *(x, dy, scale, shift, slope),
        )
    along = (found[0] - shift * found[2]) / count
    return _each(
        lambda dy, x, mean, inverse, scale, shift, along: (
            (dy * scale - shift - (x - mean) * inverse * along) * inverse
        ),
        *(x, dy, x, mean, inverse, scale, shift, along),
    )


def sums(
    dy: Array, x: Array, its: Statistics, axes: Shape, scale: Array | float = 1.0
) -> list[Array]:
    """Σ dz·z, Σ dz and Σ z over ``axes``, with dz = dy·scale and z = (x − mean)/σ."""

    def terms(dy: Array, x: Array, mean: Array, inverse: Array, scale: Array) -> tuple[Array, ...]:
        z, dz = (x - mean) * inverse, dy * scale
        return dz * z, dz, z

    return _totals(terms, axes, dy, x, its.mean, its.inverse, scale)


def check_epsilon(name: str, epsilon: float) -> None:
    """Refuse a negative ``epsilon``, and one that is no number."""
    if not 0 <= epsilon < math.inf:
        raise DomainError(f"{name}: epsilon is {epsilon}, expected a number ≥ 0")


def _count(x: Array, axes: Shape) -> int:
    count: int = math.prod(x.shape[axis] for axis in axes)
    return max(count, 1)


def _totals(f: Callable[..., tuple[Array, ...]], axes: Shape, *arrays: Any) -> list[Array]:
    """Each of f(*arrays) summed over ``axes``, which are kept."""
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [
            [np.sum(y, axis=axes, keepdims=True) for y in f(*block)] for _, block in _blocks(arrays)
        ]
    join = np.add.reduce if 0 in axes else np.concatenate
    return [join(part) for part in zip(*parts, strict=True)]


def _each(f: Callable[..., Array], like: Array, *arrays: Any) -> Array:
    """f(*arrays) rounded to the dtype of ``like``."""
    y = np.empty(like.shape, like.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, block in _blocks(arrays):
            y[rows] = f(*block)
    return y


def _blocks(arrays: tuple[Any, ...]) -> Iterator[tuple[slice, list[Array]]]:
    """The rows of the first array in blocks, float64; with each those of the others.

    What all blocks have in common is repeated to their shape, once: NumPy's loops are then as
    long as a block, not as its last dimension.
    """
    x = arrays[0]
    rows = max(1, _BLOCK * len(x) // max(x.size, 1))
    shared = [
        _repeated(a, x, rows) if np.ndim(a) < x.ndim or len(a) != len(x) else None for a in arrays
    ]
    for start in range(0, max(len(x), 1), rows):
        part = slice(start, start + rows)
        size = len(x[part])
        yield (
            part,
            [
                a[part].astype(np.float64, copy=False) if its is None else its[:size]
                for a, its in zip(arrays, shared, strict=True)
            ],
        )


def _repeated(a: Any, x: Array, rows: int) -> Array:
    wide = np.asarray(a, np.float64)
    if len(x) <= rows:
        return wide.reshape((1,) * (x.ndim - wide.ndim) + wide.shape)
    return np.broadcast_to(wide, (rows, *x.shape[1:])).copy()
