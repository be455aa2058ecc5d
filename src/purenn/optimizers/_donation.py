"""Arrays that are given away: whether they can be written to is known before anything is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from purenn import tree
from purenn.errors import DomainError
from purenn.tree import Tree
from purenn.typing import Array


def check_donated(
    donated: Mapping[str, Tree], grads: Sequence[Any] = (), kept: Sequence[Any] = ()
) -> set[int]:
    """Refuse what cannot be written to, or would be written to twice.

    Args:
        donated: Trees whose arrays are written to, by name.
        grads: Gradients, which are written to only if nothing else is in their memory.
        kept: What else is read.

    Returns:
        The numbers of the gradients that share memory with anything.

    Raises:
        DomainError: an array of ``donated`` is read-only, or shares memory with another or with
            what is kept; the message has the path.
    """
    arrays: list[Array] = []
    for its in donated.values():
        _collect(its, arrays)
    for x in arrays:
        if not x.flags.writeable:
            _refuse(donated, x, "is read-only")
    own, first = len(arrays), len(arrays) + len(kept)
    shared: set[int] = set()
    for i, j in _overlaps([*arrays, *kept, *grads]):
        if j >= first:
            shared |= {k - first for k in (i, j) if k >= first}
        elif i < own:
            _refuse(donated, arrays[j if j < own else i], "is donated twice")
    return shared


def _collect(node: Any, arrays: list[Array]) -> None:
    if isinstance(node, dict):
        node = node.values()
    elif not isinstance(node, list | tuple):
        node = (node,)
    for child in node:
        if isinstance(child, np.ndarray):
            arrays.append(child)
        elif isinstance(child, dict | list | tuple):
            _collect(child, arrays)


def _overlaps(arrays: list[Array]) -> Iterator[tuple[int, int]]:
    """The numbers i < j of arrays that share memory."""
    owners = [x if x.base is None else x.base for x in arrays]
    groups: dict[int, list[int]] = {}
    for i, owner in enumerate(owners):
        groups.setdefault(id(owner), []).append(i)
    # What is in memory that is not NumPy's may be anywhere.
    if any(type(owner) is not np.ndarray or owner.base is not None for owner in owners):
        groups = {0: [*range(len(arrays))]}
    for group in groups.values():
        if len(group) > 1:
            spans = sorted([(_start(arrays[i]), i) for i in group if arrays[i].size])
            for k, (_, i) in enumerate(spans):
                for _, j in spans[k + 1 :]:
                    if not np.may_share_memory(arrays[i], arrays[j]):
                        break
                    if np.shares_memory(arrays[i], arrays[j]):
                        yield min(i, j), max(i, j)


def _start(x: Array) -> int:
    """The first address in use."""
    back = [(n - 1) * step for n, step in zip(x.shape, x.strides, strict=True) if step < 0]
    return int(x.__array_interface__["data"][0] + sum(back))


def _refuse(donated: Mapping[str, Tree], array: Array, what: str) -> None:
    """Name the last place where the array is."""
    paths = [path for path, leaf in tree.leaves_with_paths({**donated}) if leaf is array]
    name, *path = paths[-1]
    raise DomainError(f"donate: {name}{tree.show((*path,))} {what}")
