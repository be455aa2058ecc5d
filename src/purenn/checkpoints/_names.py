"""Names of leaves: the path in one string, as in ``params/hidden/kernel``."""

from collections.abc import Iterable, Mapping
from pathlib import Path as File
from typing import Any

from purenn import tree
from purenn.errors import CheckpointError
from purenn.tree import Path, Tree
from purenn.typing import Array

_SHOWN = 5


def name(path: Path) -> str:
    """A path as a JSON pointer writes it (RFC 6901), without the first slash."""
    return "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in path)


def named(values: Tree) -> dict[str, Any]:
    """The leaves by name."""
    return {name(path): leaf for path, leaf in tree.leaves_with_paths(values)}


def nested(file: File, arrays: Mapping[str, Array], under: str) -> dict[str, Any]:
    """The dicts that the names below a path tell of; lists and tuples would be dicts too.

    Raises:
        CheckpointError: a name is that of an array and of a dict.
    """
    whole: dict[str, Any] = {}
    for each, array in arrays.items():
        if not each.startswith(f"{under}/"):
            continue
        *way, last = (
            step.replace("~1", "/").replace("~0", "~")
            for step in each.removeprefix(f"{under}/").split("/")
        )
        node = whole
        for step in way:
            node = node.setdefault(step, {}) if isinstance(node, dict) else node
        if not isinstance(node, dict) or last in node:
            raise CheckpointError(f"{file}: {each} lies within an array, or is one and a dict")
        node[last] = array
    return whole


def fitted(file: File, arrays: dict[str, Array], like: Tree) -> Tree:
    """The tree of the structure of ``like`` with the arrays in it.

    Raises:
        CheckpointError: names, shapes or dtypes differ; all that do are listed, up to a few.
    """
    expected = named(like)
    faults = [f"lacks {each}" for each in expected if each not in arrays]
    faults += [f"has {each}, which is not expected" for each in arrays if each not in expected]
    for each, its in expected.items():
        got = arrays.get(each)
        if got is not None and got.shape != its.shape:
            faults.append(f"{each} has shape {got.shape}, expected {its.shape}")
        elif got is not None and got.dtype != its.dtype:
            faults.append(f"{each} has dtype {got.dtype}, expected {its.dtype}")
    if faults:
        raise CheckpointError(f"{file}: {told(faults)}")
    return tree.map_with_path(lambda path, _: arrays[name(path)], like)


def told(faults: Iterable[str]) -> str:
    """A few of them in one line."""
    every = [*faults]
    more = f"; and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return "; ".join(every[:_SHOWN]) + more
