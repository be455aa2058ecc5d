"""Standardization over some axes, scale, shift and their pullback: what all normalizations share.

All of it is computed in float64, half precision too (a square of a bfloat16 is beyond float32), and
rounded once, block by block of the first axis: a block stays in the cache, and no array of float64
as large as x is made of one of float32.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from purenn.contract import check_number
from purenn.ops._numerics import is_double
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


def shifted(x: Array, axes: Shape) -> tuple[Array, Array]:
    """X less one of its numbers, which changes no z, and that; 0 where float64 is wider than x.

    The mean, and what it is subtracted from, are then as small as their differences: of two
    numbers z is ±1 to the last digit, and of equal numbers not even rounding remains. Where a
    difference is out of range, x is left as it is.
    """
    if not is_double(x) or not x.size:
        return x, np.zeros(())
    first = x[tuple(slice(0, 1 if axis in axes else None) for axis in range(x.ndim))]
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.asarray(x - first)
        lost = ~np.all(np.isfinite(moved), axis=axes, keepdims=True)
        if not lost.any():
            return moved, first
        first = np.where(lost, 0, first)
        return np.asarray(x - first), first


def statistics(x: Array, axes: Shape, epsilon: float, center: bool = True) -> Statistics:
    """Mean, variance and 1/σ of x, ``shifted`` if it has a center; else as if the mean were 0.

    E[x²] − E[x]² is one pass less over x and loses every digit of the variance where |mean| is
    large against σ: here the mean is subtracted, then squared. Squares that leave the range of
    float64 are computed again, scaled by a power of two. Over no elements mean and variance are 0.
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
    if not center:
        (squares,) = _sums(lambda x: [(x, x)], axes, x)
        return given(np.zeros_like(squares), squares / count, epsilon)
    (total,) = _sums(lambda x: [(x,)], axes, x)
    mean = total / count

    def squared(x: Array, mean: Array) -> list[tuple[Array, ...]]:
        d = x - mean
        return [(d, d)]

    (squares,) = _sums(squared, axes, x, mean)
    return given(mean, squares / count, epsilon)


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

    def line(x: Array, mean: Array, slope: Array, *bias: Array) -> Array:
        y = x - mean
        y *= slope
        for its in bias:
            y += its
        return y

    return _each(line, x, x, its.mean, slope, *(() if bias is None else (bias,)))


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

    With dz = dy·scale: dx = J·dz, J = (I − 1·1ᵀ/n − z·zᵀ/n)/σ; without ``center`` the part of 1
    is missing. dscale = Σ dy·z and dbias = Σ dy over the dimensions that they lack.

    Where one number outweighs the others its own terms cancel. J·1 = 0 and J·(x − m) =
    (x − m)·ε/σ³: in float64, where there is nothing wider, what dz has of 1 and x − m is taken out
    first, and J·(the rest) has nothing left to cancel (as for Gram–Schmidt, "twice is enough").
    Over two numbers (one without ``center``) there is no rest.
    """
    lacking = axes if scale is None else tuple(range(x.ndim - scale.ndim))
    gain = np.ones(()) if scale is None else scale.astype(np.float64)
    along, total = sums(dy, x, its, lacking)
    parameters = () if scale is None else (along.reshape(gain.shape), total.reshape(gain.shape))
    if not input_cotangent:
        return None, *parameters
    if axes == lacking:
        along, total = along * gain, total * gain
    else:
        along, total = sums(dy, x, its, axes, gain)
    count = _count(x, axes)
    along, mean = along / count, total / count if center else np.zeros(())
    if count - center == 1:
        rest = its._replace(inverse=epsilon * its.inverse * its.inverse * its.inverse)
        return _project(dy, x, rest, gain, mean, np.zeros(())), *parameters
    if not is_double(x):
        return _project(dy, x, its, gain, mean, along), *parameters
    return _project_twice(dy, x, its, axes, epsilon, gain, mean, along, center), *parameters


def _project(
    dy: Array, x: Array, its: Statistics, scale: Array, shift: Array, along: Array
) -> Array:
    """(dy·scale − shift − z·along)/σ."""

    def cotangent(
        dy: Array, x: Array, mean: Array, inverse: Array, scale: Array, shift: Array, back: Array
    ) -> Array:
        dx = dy * scale
        dx -= shift
        d = x - mean
        d *= back
        dx -= d
        dx *= inverse
        return dx

    back = along * its.inverse
    return _each(cotangent, x, dy, x, its.mean, its.inverse, scale, shift, back)


def _project_twice(
    dy: Array,
    x: Array,
    its: Statistics,
    axes: Shape,
    epsilon: float,
    scale: Array,
    shift: Array,
    along: Array,
    center: bool,
) -> Array:
    mean, _, inverse = its
    count = _count(x, axes)
    part = 1 - epsilon * inverse * inverse  # what the variance is of σ²: J·(x − m) cancels by it
    t: Array = np.divide(along * inverse, part, out=np.zeros_like(part), where=part > 0.5)

    def rest(dy: Array, x: Array, mean: Array, scale: Array, shift: Array, t: Array) -> Array:
        dz = dy * scale
        dz -= shift
        dz -= (x - mean) * t
        return dz

    left = _each(rest, x, dy, x, mean, scale, shift, t)
    along, total = (its / count for its in sums(left, x, its, axes))
    if not center:
        total = np.zeros(())
    dx = _project(left, x, its, np.ones(()), total, along)
    back = epsilon * inverse * inverse * inverse * t
    dx += _each(lambda x, mean, back: (x - mean) * back, x, x, mean, back)
    return dx


def sums(
    dy: Array, x: Array, its: Statistics, axes: Shape, scale: Array | None = None
) -> list[Array]:
    """Σ dz·z and Σ dz over ``axes``, with dz = dy·scale and z = (x − mean)/σ."""

    def terms(
        dy: Array, x: Array, mean: Array, inverse: Array, *scale: Array
    ) -> list[tuple[Array, ...]]:
        z = x - mean
        z *= inverse
        for its in scale:
            dy = dy * its
        return [(dy, z), (dy,)]

    return _sums(terms, axes, dy, x, its.mean, its.inverse, *(() if scale is None else (scale,)))


def check_epsilon(name: str, epsilon: float) -> None:
    """Refuse a negative ``epsilon``, and one that is no number."""
    check_number(name, "epsilon", epsilon, ge=0)


def _count(x: Array, axes: Shape) -> int:
    count: int = math.prod(x.shape[axis] for axis in axes)
    return max(count, 1)


def _sums(
    f: Callable[..., Sequence[tuple[Array, ...]]], axes: Shape, *arrays: Array
) -> list[Array]:
    """The products that f(*arrays) returns the factors of, summed over ``axes``, which are kept."""
    every = list(range(arrays[0].ndim))
    left = [axis for axis in every if axis not in axes]
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [
            [
                np.asarray(np.einsum(*(its for y in factors for its in (y, every)), left))
                for factors in f(*block)
            ]
            for _, block in _blocks(arrays)
        ]
    join = np.add.reduce if 0 in axes else np.concatenate
    return [np.expand_dims(join(part), axes) for part in zip(*parts, strict=True)]


def _each(f: Callable[..., Array], like: Array, *arrays: Array) -> Array:
    """f(*arrays) rounded to the dtype of ``like``."""
    y = np.empty(like.shape, like.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, block in _blocks(arrays):
            y[rows] = f(*block)
    return y


def _blocks(arrays: tuple[Array, ...]) -> Iterator[tuple[slice, list[Array]]]:
    """The rows of the first array in blocks, float64; with each those of the others.

    What all blocks have in common is repeated to their shape, once: NumPy's loops are then as
    long as a block, not as its last dimension.
    """
    x = arrays[0]
    rows = max(1, _BLOCK * len(x) // max(x.size, 1))
    shared = [
        _repeated(a, x, rows) if a.ndim < x.ndim or len(a) != len(x) else None for a in arrays
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


def _repeated(a: Array, x: Array, rows: int) -> Array:
    wide = a.astype(np.float64, copy=False)
    if len(x) <= rows:
        return wide.reshape((1,) * (x.ndim - wide.ndim) + wide.shape)
    return np.broadcast_to(wide, (rows, *x.shape[1:])).copy()
