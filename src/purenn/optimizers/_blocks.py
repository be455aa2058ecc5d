"""What is worked on at a time: a part of a large leaf, or many small leaves."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn.typing import Array, Shape

# Bytes of each array that are worked on at a time: all of Adam's fit into a cache, and
# what a call of NumPy costs is little beside the work. Half of it takes 10 % more time.
BLOCK = 2**18

# Bytes of leaves that are worked on together; it costs a copy of each.
PACK = 2**17

Kinds: TypeAlias = tuple[tuple[Shape, np.dtype[Any]], ...]
"""Shape and dtype of each leaf."""

Column: TypeAlias = list[Any] | dict[int, Any]
"""The leaves of a tree by their numbers."""


def kinds(leaves: list[Any]) -> Kinds:
    """Those of arrays."""
    return tuple([(leaf.shape, leaf.dtype) for leaf in leaves])


class Unit(NamedTuple):
    """Leaves that are worked on together, with their places in the array that they make."""

    dtype: np.dtype[Any]
    leaves: tuple[int, ...]
    spans: tuple[tuple[int, slice, Shape], ...]
    size: int
    take: Callable[[Column], Any]
    """The leaves of these numbers; not a tuple where there is only one."""


@lru_cache
def units(leaves: Kinds) -> list[Unit]:
    """Put small leaves of one dtype together, as long as they fit into a pack."""
    groups: list[list[int]] = []
    packs: dict[Any, list[int]] = {}
    rooms: dict[Any, int] = {}
    for i, (shape, dtype) in enumerate(leaves):
        size = math.prod(shape) * dtype.itemsize
        if size > PACK // 4:
            groups.append([i])
            continue
        if rooms.get(dtype, -1) < size:
            packs[dtype], rooms[dtype] = [], PACK
            groups.append(packs[dtype])
        packs[dtype].append(i)
        rooms[dtype] -= size
    return [unit(group, leaves) for group in groups]


def unit(group: list[int], leaves: Kinds) -> Unit:
    """Leaves by their numbers as one."""
    shapes = [leaves[i][0] for i in group]
    stops = [0, *accumulate(math.prod(shape) for shape in shapes)]
    spans = zip(group, map(slice, stops, stops[1:]), shapes, strict=True)
    return Unit(leaves[group[0]][1], (*group,), (*spans,), stops[-1], itemgetter(*group))


def allocate(group: Unit, leaves: Column, into: Column, *, in_one: bool) -> None:
    """Make arrays like the leaves of a group, parts of one array or each its own."""
    if in_one and len(group.leaves) > 1:
        whole = np.empty(group.size, group.dtype)
        for i, span, shape in group.spans:
            into[i] = whole[span] if len(shape) == 1 else whole[span].reshape(shape)
    else:
        for i in group.leaves:
            if leaves[i] is not None:
                into[i] = np.empty(leaves[i].shape, leaves[i].dtype)


def joined(parts: tuple[Array, ...]) -> Array:
    """All elements, one part after the other, read-only."""
    try:
        # A third of the time of np.concatenate, where parts are small and in order.
        return np.frombuffer(b"".join(parts), parts[0].dtype)  # type: ignore[arg-type]
    except TypeError:
        return np.concatenate(parts, axis=None)


def scattered(whole: Array, parts: tuple[Array, ...], of: Unit) -> None:
    """The way back."""
    for part, (_, span, shape) in zip(parts, of.spans, strict=True):
        part[...] = whole[span] if len(shape) == 1 else whole[span].reshape(shape)


def blocks(arrays: list[Array], size: int) -> Iterator[list[Array]]:
    """The same parts of arrays of one shape, of about ``size`` elements."""
    if arrays[0].size <= size:
        yield arrays
    elif all(array.flags.c_contiguous for array in arrays):
        flat = [array.reshape(-1) for array in arrays]
        for start in range(0, flat[0].size, size):
            yield [array[start : start + size] for array in flat]
    elif arrays[0][0].size > size:
        for i in range(len(arrays[0])):
            yield from blocks([array[i] for array in arrays], size)
    else:
        rows = size // arrays[0][0].size
        for start in range(0, len(arrays[0]), rows):
            yield [array[start : start + rows] for array in arrays]
