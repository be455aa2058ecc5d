"""Save a tree of arrays in one file, and load it again, the same bits."""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from purenn._files import write_whole
from purenn.checkpoints import _format, _names
from purenn.errors import DomainError
from purenn.tree import Tree
from purenn.typing import Array


class Checkpoint(NamedTuple):
    """What is in a file.

    Attributes:
        path: Where it is.
        arrays: By name, as ``"params/hidden/kernel"``.
        metadata: What was saved with them.
    """

    path: Path
    arrays: dict[str, Array]
    metadata: dict[str, Any]


def save(
    path: str | PathLike[str], values: Tree, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a tree, a ``TrainState`` say, to a safetensors file.

    It is written beside ``path``, forced to the disk, and then takes its place: whatever happens,
    there is the old file or the new one, and it is whole.

    Args:
        path: The file; by convention its name ends in ``.safetensors``.
        values: A tree of arrays.
        metadata: What JSON can hold, by name.

    Raises:
        DtypeError: a leaf is no array, or has a dtype that safetensors does not know.
        DomainError: ``metadata`` cannot be written as JSON, a name of a leaf not in the file, or
            they are too long for it.
        OSError: the file cannot be written.
    """
    write_whole(Path(path), encoded(values, metadata))


def encoded(values: Tree, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of the file that :func:`save` writes."""
    try:
        header = json.dumps(metadata or {})
    except (TypeError, ValueError, RecursionError) as error:
        raise DomainError(f"save: metadata cannot be written as JSON: {error}") from None
    return _format.encode(_names.named(values), header)


def load(
    path: str | PathLike[str], like: Tree, *, strict: bool = True
) -> tuple[Tree, dict[str, Any]]:
    """Read the tree that :func:`save` wrote, and what was saved with it.

        state, metadata = load("run/step-00000100.safetensors", like=init_state(...))

    Args:
        path: The file.
        like: A tree of the same structure, shapes and dtypes; its numbers do not matter.
        strict: Whether the file must hold nothing else; if not, the parameters of a ``TrainState``
            say can be read alone, ``like={"params": …}``.

    Raises:
        CheckpointError: the file is no checkpoint, is damaged or was changed; or names, shapes or
            dtypes differ from those of ``like``: the message says which.
        OSError: it cannot be read, or is no regular file.
    """
    found = read(path)
    return fitted(found, like, strict=strict), found.metadata


def fitted(found: Checkpoint, like: Tree, *, strict: bool = True) -> Tree:
    """The tree in a checkpoint that was read; see :func:`load`.

    Raises:
        CheckpointError: names, shapes or dtypes differ from those of ``like``.
    """
    arrays = found.arrays
    if not strict:
        arrays = {name: arrays[name] for name in _names.named(like) if name in arrays}
    return _names.fitted(found.path, arrays, like)


def read(path: str | PathLike[str]) -> Checkpoint:
    """Read what :func:`save` wrote without knowing what it was.

    Raises:
        CheckpointError: the file is no checkpoint, is damaged or was changed.
        OSError: it cannot be read, or is no regular file.
    """
    file = Path(path)
    arrays, metadata = _format.decode(file)
    return Checkpoint(file, arrays, _format.verify(file, arrays, metadata))
