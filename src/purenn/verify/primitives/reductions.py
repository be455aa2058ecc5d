"""Reductions by a binary operation: over all elements of an axis, or up to each."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from flint import arb

from purenn.verify.balls import from_integers
from purenn.verify.primitives.choices import Ties, certain, logic, sides
from purenn.verify.primitives.duals import (
    Dual,
    Function,
    around,
    joined,
    linear,
    linear_behind,
    settled,
)
from purenn.verify.primitives.kinks import maximum, minimum
from purenn.verify.primitives.smooth import smooth

# Binary operations, and what they leave as it is.
OPERATIONS: dict[str, tuple[Function, Any]] = {
    "add": (partial(smooth, "add"), arb(0)),
    "mul": (partial(smooth, "mul"), arb(1)),
    "max": (partial(maximum, ties=Ties.EVERY_SIDE), arb("-inf")),
    "min": (partial(minimum, ties=Ties.EVERY_SIDE), arb("inf")),
    "logsumexp": (partial(smooth, "logaddexp"), arb("-inf")),
    "and": (partial(logic, np.logical_and), True),
    "or": (partial(logic, np.logical_or), False),
}


def fold(name: str, x: Dual, axes: Sequence[int]) -> Dual:
    """The operation over all elements along ``axes``, halves by halves."""
    operation, neutral = OPERATIONS[name]
    kept = [n for axis, n in enumerate(x.value.shape) if axis not in axes]
    size = math.prod(x.value.shape[axis] for axis in axes)
    if not size:
        return Dual(np.full(kept, neutral, x.value.dtype), None)
    x = linear(lambda a: np.moveaxis(a, axes, range(-len(axes), 0)).reshape(*kept, size), [x])
    while size > 1:
        half = size // 2
        low, high, rest = _parts(x, [slice(half), slice(half, 2 * half), slice(2 * half, None)])
        x = _joined([operation(low, high), rest])
        size -= half
    return _parts(x, [0])[0]


def _parts(x: Dual, parts: Iterable[Any]) -> list[Dual]:
    """Parts of ``x`` along its last axis."""
    return [linear_behind(itemgetter((..., part)), [x]) for part in parts]


def _joined(parts: Sequence[Dual]) -> Dual:
    return linear_behind(lambda *xs: np.concatenate(xs, -1), parts)


def _accumulate(name: str, params: dict[str, Any], x: Dual) -> Dual:
    """The operation over all elements up to each."""
    operation, axis = OPERATIONS[name][0], params["axis"]
    size = x.value.shape[axis]
    places = range(size)[::-1] if params["reverse"] else range(size)
    last = linear(lambda a: np.moveaxis(a, axis, -1), [x])
    parts = _parts(last, [slice(i, i + 1) for i in places])
    for i in range(1, size):
        parts[i] = operation(parts[i - 1], parts[i])
    if params["reverse"]:
        parts.reverse()
    return linear(lambda a: np.moveaxis(a, -1, axis), [_joined(parts)]) if size else x


def _argument(name: str, params: dict[str, Any], x: Dual) -> Dual:
    """Where the first of the greatest is, or of the least; nearby where any of them is."""
    (axis,) = params["axes"]
    x = linear(lambda a: np.moveaxis(a, axis, -1), [x])
    y = fold(name.removeprefix("arg"), x, [x.value.ndim - 1])
    found = certain(sides(x.value, y.value[..., None]))
    index = np.argmax(found == 0, -1)
    value = index.astype(params["index_dtype"])
    size = x.value.shape[-1]
    may = np.arange(size) == index[..., None]
    if x.tangents is not None:
        along = [x.tangents[..., i] for i in range(size)]
        its = np.choose(np.broadcast_to(index, along[0].shape), along)
        may = may | ((found == 0) & (sides(x.tangents, its[..., None]) != 0))
    if x.nearby is not None:
        beyond = -1 if name == "argmax" else 1
        may = may | (sides(x.nearby, around(y, value.ndim)[..., None]) != beyond)
    if may.ndim == x.value.ndim:
        return Dual(value, None)
    first, last = np.argmax(may, -1), size - 1 - np.argmax(may[..., ::-1], -1)
    return settled(Dual(value, None, joined(from_integers(first), from_integers(last))))


def _fold(name: str) -> Function:
    return lambda p, x: fold(name, x, p["axes"])


RULES: dict[str, Function] = {
    "reduce_max": _fold("max"),
    "reduce_min": _fold("min"),
    "reduce_prod": _fold("mul"),
    "reduce_and": _fold("and"),
    "reduce_or": _fold("or"),
    "cummax": partial(_accumulate, "max"),
    "cummin": partial(_accumulate, "min"),
    "cumprod": partial(_accumulate, "mul"),
    "cumlogsumexp": partial(_accumulate, "logsumexp"),
    "argmax": partial(_argument, "argmax"),
    "argmin": partial(_argument, "argmin"),
}
