"""Numbers that hurt, two bytes each; small bytes are plain numbers.

Hypothesis takes a string of bytes for a single choice. So every example is a new one, where lists
of numbers would have it spend most of them on variations of the last; and what makes the bytes
smaller makes the numbers plainer, which is what shrinking is for.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from purenn.typing import Array, Shape
from purenn.verify import floats
from purenn.verify.balls import is_number

_PLAIN = (0.0, 1.0, -1.0, 0.5, 0.0, 2.0, -0.5, -2.0, 3.0, 0.0, -0.0)
_CALM, _FAR = 176, 228
"""In a table of numbers, the rows before these hold none that saturates; that is huge or tiny."""


class Bytes:
    """Bytes that are read one after the other; past the last one they begin anew."""

    def __init__(self, data: bytes | Array) -> None:
        self._data = np.frombuffer(data, np.uint8).astype(np.intp)
        self._next = 0

    def parts(self, count: int) -> list["Bytes"]:
        """The bytes dealt out, so that what one part is read for moves nothing in the others."""
        return [Bytes(self._data[start::count].astype(np.uint8)) for start in range(count)]

    def take(self, shape: Shape) -> Array:
        """As many bytes as the shape has entries."""
        count = int(np.prod(shape))
        taken = self._data[np.arange(self._next, self._next + count) % self._data.size]
        self._next += count
        return taken.reshape(shape)

    def one_of(self, choices: Sequence[Any]) -> Any:
        """One of the choices, an earlier one for a smaller byte."""
        return choices[int(self.take(())) * len(choices) // 256]


def numbers(
    source: Bytes,
    shape: Shape,
    low: float,
    high: float,
    dtype: np.dtype[Any],
    constants: tuple[float, ...] = (),
) -> Array:
    """Floats in [low, high] that the dtype holds exactly: calm, of every kind, far, or tied."""
    mode = source.one_of(("calm", "any", "far", "tied"))
    bytes_ = source.take((*shape, 2))
    row, column = bytes_[..., 0], bytes_[..., 1]
    if mode == "calm":
        row = row * _CALM // 256
    elif mode == "far":
        row = _CALM + row * (_FAR - _CALM) // 256
    found = table(low, high, dtype, constants)[row, column]
    if mode == "tied" and found.size:
        found = np.where(column % 2, found.flat[0], found.flat[-1])
    return np.asarray(found, dtype)


def not_finite(source: Bytes, x: Array, low: float, high: float) -> Array:
    """``x`` with infinities and NaN here and there, as far as the bounds admit them."""
    ends = [end for end in (low, high) if np.isinf(end)]
    ends += [np.nan] if len(ends) == 2 else []
    which = source.take(x.shape)
    return np.where(which < 64, np.asarray(ends, x.dtype)[which % len(ends)], x) if ends else x


@lru_cache(maxsize=64)
def table(low: float, high: float, dtype: np.dtype[Any], constants: tuple[float, ...]) -> Array:
    """65,536 numbers in [low, high]: a kind per row, the plain ones first."""
    least, most = floats.tiny(dtype), floats.largest(dtype)
    far = float(np.rint(20 - np.log(least)))  # past where an exponential is 0
    tiny, huge = max(1e-30, least), min(1e30, most / 4)
    places = np.arange(256)
    fraction = (places + np.random.default_rng(0).random((256, 256))) / 256
    magnitude = 10 ** (16 * np.abs(2 * fraction - 1) - 8)

    def listed(*values: float) -> Array | None:
        rounded = np.asarray(values).astype(dtype).astype(np.float64)
        inside = rounded[(rounded >= low) & (rounded <= high) & np.isfinite(rounded)]
        return inside[np.add.outer(places, places) % inside.size] if inside.size else None

    def between(start: float, end: float) -> Array | None:
        start, end = max(low, start), min(high, end)
        return start + (end - start) * fraction if start <= end else None

    def both(*values: float) -> list[float]:
        return [sign * value for value in values for sign in (1, -1)]

    # An end of the domain may be far from 0: the numbers beside it.
    at_low = between(low, low + 8) if np.isfinite(low) else between(-8, 8)
    at_high = between(high - 8, high) if np.isfinite(high) else between(-8, 8)
    beside = at_high if at_low is None else at_low
    plain = listed(*_PLAIN, low, high)
    written = listed(*both(*constants, *(1.0625 * c for c in constants)))
    kinds = [
        (36, plain),
        (16, plain if written is None else written),
        (24, listed(*both(*range(33), *(2**k for k in range(6, 11))))),
        (40, between(-1, 1)),
        (_CALM - 116, between(-8, 8)),
        (20, between(-32, 32)),
        (20, between(-1.5 * far, 1.5 * far)),
        (6, at_low),
        (6, at_high),
        (20, listed(*both(tiny, huge, *reversed(squarable(dtype)), 17, far, least / 8))),
        (8, np.clip(np.where(fraction < 0.5, -magnitude, magnitude), low, high)),
    ]
    found = np.empty((256, 256))
    start = 0
    for count, kind in kinds:
        part = beside if kind is None else kind
        assert part is not None
        found[start : start + count] = part[:count]
        start += count
    return found.astype(dtype)


def squarable(dtype: np.dtype[Any]) -> tuple[float, float]:
    """A small and a large number whose squares fit the dtype."""
    return max(1e-18, 16 * floats.tiny(dtype) ** 0.5), min(1e18, floats.largest(dtype) ** 0.5 / 16)


def tamed(x: Array) -> Array:
    """``x`` with numbers whose squares fit its dtype; as it is if it holds none."""
    if not is_number(x):
        return x
    small, large = squarable(x.dtype)
    sizes = np.where(x == 0, 0, np.clip(np.abs(x).astype(np.float64), small, large))
    return np.asarray(np.copysign(sizes, x.astype(np.float64)), x.dtype)


def constants(functions: Sequence[Callable[..., Any] | None]) -> tuple[float, ...]:
    """The numbers that are written in the functions: thresholds, maybe, to stand at and beyond."""
    found: dict[float, None] = {}
    for function in (inspect.unwrap(f) for f in functions if f is not None):
        code = getattr(function, "__code__", None)
        if code is not None:
            found |= dict.fromkeys(_written(code, getattr(function, "__globals__", {})))
    return tuple(c for c in found if c not in _PLAIN and np.isfinite(c))[:16]


def _written(code: CodeType, named: dict[str, Any]) -> list[float]:
    values = [*code.co_consts, *(named.get(name) for name in code.co_names)]
    found = [abs(float(v)) for v in values if type(v) in (int, float) and abs(v) < 1e300]
    for inner in values:
        if isinstance(inner, CodeType):
            found += _written(inner, named)
    return found
