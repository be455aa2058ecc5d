"""The order of several numbers. Among the tied any may come first.

The tangent of each of them is the ball of all of theirs. Of what is only carried along, the
values are in the order of the places; nearby they may be any of those that are tied.
"""

from collections.abc import Sequence
from functools import cmp_to_key, reduce
from typing import Any, NamedTuple

import numpy as np

from purenn.typing import Array
from purenn.verify.primitives.choices import certain, sides
from purenn.verify.primitives.duals import Dual, Function, joined, linear, settled, unchanged


class _Tied(NamedTuple):
    """Places next to each other, once in order, along the last axis."""

    place: tuple[Any, ...]
    opened: Array
    """The directions in which the tied move apart."""


def _sort(params: dict[str, Any], *inputs: Dual) -> list[Dual]:
    """All inputs in the order of the first of them."""
    return _ordered(inputs, params["num_keys"], params["dimension"], 1)


def _top_k(params: dict[str, Any], x: Dual) -> list[Dual]:
    """The greatest numbers, and where they are."""
    axis, first = params.get("axis", x.value.ndim - 1), range(params["k"])
    shape = [-1 if i == axis else 1 for i in range(x.value.ndim)]
    places = np.arange(x.value.shape[axis], dtype=np.int32).reshape(shape)
    which = Dual(np.broadcast_to(places, x.value.shape), None)
    results = _ordered([x, which], 1, axis, -1)
    return [linear(lambda a: np.take(a, first, axis), [y]) for y in results]


def _ordered(inputs: Sequence[Dual], keys: int, axis: int, sign: int) -> list[Dual]:
    inputs = [linear(lambda a: np.moveaxis(a, axis, -1), [x]) for x in inputs]
    moves = (a for x in inputs for a in (x.tangents, x.nearby) if a is not None)
    places, tied = _places(inputs[:keys], sign, next(map(len, moves), 0))
    results = []
    for i, x in enumerate(inputs):
        y = linear(lambda a: np.take_along_axis(a, places, -1), [x])
        y = _alike(y, tied) if i < keys else _exchanged(_alike(y, tied), tied)
        results.append(linear(lambda a: np.moveaxis(a, -1, axis), [y]))
    return results


def _places(keys: Sequence[Dual], sign: int, directions: int) -> tuple[Array, list[_Tied]]:
    """Where the elements come from, in a stable order of the keys."""
    places, tied = np.empty(keys[0].value.shape, int), []
    *shape, size = places.shape
    for lane in np.ndindex(*shape):
        found = np.zeros((size, size), int)
        for key in keys:
            lot = key.value[lane]
            found = np.where(found == 0, certain(sides(lot[:, None], lot)), found)
        order = _sorted(sign * found)
        places[lane] = order
        starts = [k for k in range(size) if k == 0 or found[order[k - 1], order[k]] != 0]
        for start, end in zip(starts, [*starts[1:], size], strict=True):
            if end > start + 1:
                opened = np.zeros(directions, bool)
                for key in keys:
                    if key.tangents is not None:
                        moves = key.tangents[(slice(None), *lane, order[start:end])]
                        opened |= np.any(sides(moves, moves[:, :1]) != 0, 1)
                tied.append(_Tied((*lane, slice(start, end)), opened))
    return places, tied


def _sorted(found: Array) -> list[int]:
    def compare(i: int, j: int) -> int:
        return int(found[i, j])

    return sorted(range(len(found)), key=cmp_to_key(compare))


def _alike(x: Dual, tied: Sequence[_Tied]) -> Dual:
    """``x`` with one tangent for all that are tied together."""
    if x.tangents is not None:
        for place, opened in tied:
            several = x.tangents[(slice(None), *place)]
            several[opened] = reduce(joined, np.moveaxis(several[opened], -1, 0))[..., None]
    return x


def _exchanged(x: Dual, tied: Sequence[_Tied]) -> Dual:
    """``x`` with all values nearby that are tied together."""
    directions = len(tied[0].opened) if tied else 0
    if not directions:
        return x
    of_bools = x.value.dtype == bool
    nearby = x.nearby
    if nearby is None:
        nearby = np.broadcast_to(unchanged(x.value), (directions, *x.value.shape)).copy()
    for place, opened in tied:
        several, values = nearby[(slice(None), *place)], x.value[place]
        if of_bools:
            several[opened] |= np.any(values != values[0])
        else:
            several[opened] = reduce(joined, np.moveaxis(several[opened], -1, 0))[..., None]
    return settled(x._replace(nearby=nearby))


RULES: dict[str, Function] = {"sort": _sort, "top_k": _top_k}
