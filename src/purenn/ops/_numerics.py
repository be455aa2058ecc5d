"""What the rules share: the precision they compute in, and exponentials that keep their digits."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from purenn.typing import Array, Shape, Values

# Where e^u is still a normal number with room to spare; from -709 or -87 on it no longer is.
_NORMAL = {np.dtype(np.float64): -700.0, np.dtype(np.float32): -80.0}


quiet = np.errstate(over="ignore", invalid="ignore")
"""Decorates what may leave the range of its dtype: ∞ says so, and NaN where ∞ has no limit."""


def widen(x: Values) -> Values:
    """The dtype that a transcendental rule computes in: float64, for half precision float32.

    Rounding to the caller's dtype once, at the end, leaves half an ULP of error where the
    formula itself is stable.
    """
    return x.astype(np.float32 if x.dtype.itemsize == 2 else np.float64, copy=False)


def at_least_single(x: Values) -> Values:
    """The dtype that sums and products are computed in: half precision becomes float32."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def is_double(x: Array) -> bool:
    """Whether it has all the digits that there are, so that none may be lost."""
    return x.dtype.itemsize == 8


def narrow(y: Values, like: Array) -> Array:
    """``y`` rounded to the dtype of ``like``; an array, also where NumPy gave a scalar."""
    return y if type(y) is np.ndarray and y.dtype is like.dtype else _rounded(y, like.dtype)


@np.errstate(over="ignore", under="ignore")
def _rounded(y: Values, dtype: np.dtype[Any]) -> Array:
    return np.asarray(y, dtype)


def negative_half(x: Values, bound: float = 1500.0) -> Values:
    """n = −|x|, no lower than −``bound``.

    From −1455 on eⁿ is 0 times any float64, so that farther out nothing changes.
    """
    return widen(-np.minimum(np.abs(x), bound))


def decay(scale: Values | float, u: Values, fine: Values | None = None) -> Values:
    """scale · e^(u + fine) for u ≤ 0 and a small correction ``fine``.

    Right also where e^u alone would be subnormal and the product is not, as x·e^x at −714 in
    float64: e^u then enters as two factors.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if is_deep(u):
            normal = _NORMAL[u.dtype]
            y = scale * np.exp(np.maximum(u, normal)) * np.exp(np.minimum(u - normal, 0.0))
        else:
            y = scale * np.exp(u)
        return y if fine is None else y * np.exp(fine)


def decay_of(scale: Values, u: Values) -> tuple[Values, Values]:
    """scale·eᵘ as ``decay`` has it, and eᵘ."""
    e = np.exp(u)
    return (decay(scale, u) if is_deep(u) else scale * e), e


def is_deep(u: Values) -> bool:
    """Whether some e^u may be subnormal, or 0."""
    return bool(np.fmin.reduce(u, axis=None, initial=0.0) < _NORMAL[u.dtype])


def of_product(linear: Callable[[Values], Values], a: Values, b: Values | float) -> Values:
    """linear(a·b), for a function that makes it smaller, also where a·b alone overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        ab = a * b
        infinite = np.isinf(ab)
        if not infinite.any() or not np.any(lost := infinite & np.isfinite(a) & np.isfinite(b)):
            return linear(ab)
        half = np.where(lost, a.dtype.type(2.0 ** -(np.finfo(a.dtype).maxexp // 2)), 1)
        return np.asarray(linear((a * half) * (b * half)) / half / half)


def scaled_sigmoid(scale: Values | float, x: Values) -> Values:
    """scale·σ(x): scale·(eⁿ or 1)/(1 + eⁿ) with n = −|x|."""
    n = negative_half(x)
    e = np.exp(n)
    if is_deep(n):
        return np.asarray(np.where(x > 0, scale, decay(scale, n)) / (1 + e))
    return np.asarray(scale * np.maximum(e, x > 0, dtype=e.dtype) / (1 + e))


def scaled_sigmoid_slope(scale: Values, n: Values) -> Values:
    """scale·σ′(n) = scale·eⁿ/(1 + eⁿ)² for n ≤ 0."""
    scaled, e = decay_of(scale, n)
    return np.asarray(scaled / np.square(1 + e))


def above_tangent(u: Values) -> Values:
    """eᵘ − 1 − u ≥ 0, how far the exponential is above its tangent at 0."""
    near = np.clip(u, -1, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        far = np.expm1(u) - u
        return np.asarray(np.where(np.abs(u) < 1, above_tangent_series(near) * near * near, far))


def above_tangent_series(u: Values) -> Values:
    """(eᵘ − 1 − u)/u² for |u| ≤ 1, where its terms cancel: 1/2! + u/3! + u²/4! + …"""
    y = np.zeros_like(u)
    for coefficient in _coefficients():
        y = y * u + coefficient
    return y


@cache
def _coefficients() -> list[float]:
    """1/20!, …, 1/3!, 1/2!: the next term is 2⁻⁶⁴ of the first."""
    return [1 / math.factorial(k) for k in range(20, 1, -1)]


def positive_part(x: Values) -> Values:
    """max(x, 0)."""
    return np.maximum(x, _zeros_beside(x))


def negative_part(x: Values) -> Values:
    """min(x, 0)."""
    return np.minimum(x, _zeros_beside(x))


def _zeros_beside(x: Values) -> Array:
    """A row of zeros, with which NumPy takes a third of the time that it takes with a single 0."""
    return np.zeros(x.shape[-1:] if x.ndim and x.shape[-1] <= _ROW else (), x.dtype)


_ROW = 2**14


def masked(x: Values, condition: Values) -> Values:
    """x where the condition holds, else 0, also for an infinite x.

    Its bits are multiplied, as an integer: where conditions come in no order, ``numpy.where`` takes
    ten times as long, for it branches.
    """
    if x.ndim == 0 or np.shape(condition) != x.shape:
        return np.where(condition, x, np.zeros((), x.dtype))
    word = bits_of(x)
    kept = condition.astype(word)
    kept *= x.view(word)
    return np.asarray(kept.view(x.dtype))


def either(condition: Values, a: float, b: float, dtype: np.dtype[Any]) -> Array:
    """The number a where the condition holds, else b: by their bits, as in ``masked``."""
    word = _WORDS[dtype.itemsize]
    first, second = (np.array(number, dtype).view(word) for number in (a, b))
    chosen = np.asarray(condition, word)
    chosen *= first - second  # which may go over the end: adding the second goes back
    chosen += second
    return np.asarray(chosen.view(dtype))


def where_positive(x: Values, y: Values) -> Array:
    """y where x > 0, else 0, as ``masked`` has it."""
    word = bits_of(y)
    kept = np.empty(y.shape, word)
    np.greater(x, 0, out=kept)
    np.multiply(kept, y.view(word), out=kept)
    return np.asarray(kept.view(y.dtype))


def bits_of(x: Values) -> np.dtype[Any]:
    """The integers that have as many bits as the numbers of x."""
    return _WORDS[x.dtype.itemsize]


_WORDS = {size: np.dtype(f"i{size}") for size in (2, 4, 8)}


def difference(a: Values, b: Values | float) -> tuple[Values, Values]:
    """a − b, rounded, and what rounding cut off it, which is 0 where a − b is not finite.

    The remainder is exact: Knuth, TAOCP 2, 4.2.2, theorem B.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        d = a - b
        back = d - a
        lost = (a - (d - back)) - (b + back)
    return d, np.where(np.isfinite(lost), lost, 0)


def product(a: Values, b: Values | float) -> tuple[Values, Values]:
    """a·b, rounded, and what rounding cut off it, which is 0 where that is out of range.

    The remainder is exact: Dekker, *A floating-point technique for extending the available
    precision*, Numer. Math. 18 (1971).
    """
    with np.errstate(invalid="ignore", over="ignore"):
        ab = a * b
        (high, low), (top, bottom) = _halves(a), _halves(b)
        lost = low * bottom - (((ab - high * top) - low * top) - high * bottom)
    return ab, np.where(np.isfinite(lost), lost, 0)


def _halves(a: Values | float) -> tuple[Values | float, Values | float]:
    """A float64 as the sum of two that have 26 bits: products of those are exact."""
    c = a * 134217729.0  # 2²⁷ + 1
    high = c - (c - a)
    return high, a - high


def places(x: Array, index: Array) -> Array:
    """Where one entry of each row is, as ``take`` and ``put`` of an array want it.

    ``index`` has the shape of x, the last axis 1. Places count the entries in the order of the
    axes, whatever the layout; ``numpy.take_along_axis`` takes ten times as long for few rows.
    """
    return np.asarray(np.arange(0, x.size, x.shape[-1]).reshape(index.shape) + index)


FOLDED = 8
"""Rows that are added at a time."""


def sum_rows(x: Array) -> Array:
    """Σ over the rows of a matrix in single or double precision, as ``fold_rows`` has it.

    Rows are added by a product with ones, which takes two thirds of the time of ``numpy.sum``.
    """
    ones = _ONES[x.dtype]
    while (count := len(x)) > FOLDED:
        whole, odd = divmod(count, FOLDED)
        rest, features = x[count - odd :], x.shape[1]
        x = np.dot(ones, x[: count - odd].reshape(FOLDED, whole * features))
        x = x.reshape(whole, features)
        if odd:
            x[-1] += np.dot(ones[:odd], rest)
    return np.asarray(np.dot(ones[: len(x)], x))


def fold_rows(x: Array, operation: np.ufunc = np.add) -> Array:
    """Σ over the axis before the last, or another ``operation`` than +.

    Eight rows at a time become one until few are left: that rounds some 3·log₂ n times where a
    running sum, as ``numpy.sum`` has it along such an axis, does n times.
    """
    while (count := x.shape[-2]) > FOLDED:
        whole, odd = divmod(count, FOLDED)
        even, rest = (x[..., :-odd, :], x[..., -odd:, :]) if odd else (x, None)
        # Far rows are added, so that all that are next to each other are one long vector.
        x = operation.reduce(even.reshape(*x.shape[:-2], FOLDED, whole, x.shape[-1]), axis=-3)
        if rest is not None:
            x[..., -1, :] = operation(x[..., -1, :], operation.reduce(rest, axis=-2))
    return np.asarray(operation.reduce(x, axis=-2))


_ONES = {np.dtype(kind): np.ones(FOLDED, kind) for kind in (np.float32, np.float64)}


def unbroadcast(dy: Values, shape: Shape) -> Values:
    """Sum over the dimensions in which an array of ``shape`` was repeated: the transpose of that.

    The terms of a sum are made neighbours, which NumPy adds in pairs: the error grows with the
    logarithm of their number.
    """
    sizes = (*(1,) * (dy.ndim - len(shape)), *shape)
    repeated = [axis for axis, size in enumerate(sizes) if size == 1]
    count = math.prod(dy.shape[axis] for axis in repeated)
    terms = np.moveaxis(dy, repeated, range(-len(repeated), 0))
    return np.asarray(np.sum(terms.reshape(*shape, count), axis=-1))
