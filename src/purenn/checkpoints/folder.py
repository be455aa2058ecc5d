"""A folder of checkpoints: the last few, and the best."""

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from purenn._files import remove_left_over, write_whole
from purenn.checkpoints.saving import encoded
from purenn.contract import check_integer
from purenn.tree import Tree

BEST = "best.safetensors"

_NAME = re.compile(r"step-(\d{8,})\.safetensors")


def save_step(
    folder: str | PathLike[str],
    step: int,
    values: Tree,
    metadata: Mapping[str, Any] | None = None,
    *,
    keep: int = 3,
    best: bool = False,
) -> Path:
    """Write ``step-00000100.safetensors``, and only then remove all but the last ``keep`` to it.

    Those of larger steps are of a future that the run has left, and are removed too.

    Args:
        folder: Made if it is not there.
        step: Steps taken, ≥ 0.
        values: A tree of arrays.
        metadata: What JSON can hold, by name.
        keep: How many to keep, the new one included, ≥ 1.
        best: Whether this is the best so far; it is then also in ``best.safetensors``, whatever
            becomes of the others.

    Returns:
        The file.

    Raises:
        DtypeError, DomainError: an argument does not fit; see :func:`save`.
        OSError: a file cannot be written; the checkpoints that were there still are.
    """
    check_integer("save_step", "step", step, least=0)
    check_integer("save_step", "keep", keep, least=1)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"step-{step:08d}.safetensors"
    data = encoded(values, metadata)
    # The best first: a run that goes on from the step before writes it again.
    for each in (place / BEST, file) if best else (file,):
        write_whole(each, data)
    # Another process may remove files meanwhile.
    others = [(_number(other), other) for other in steps(place)]
    older = [other for number, other in others if number < step]
    for other in (*(other for number, other in others if number > step), *older[keep - 1 :]):
        other.unlink(missing_ok=True)
    remove_left_over(place)
    return file


def steps(folder: str | PathLike[str]) -> list[Path]:
    """The checkpoints of a folder, the newest first; none, if there is no such folder."""
    place = Path(folder)
    if not place.is_dir():
        return []
    found = [file for file in place.iterdir() if _NAME.fullmatch(file.name)]
    return sorted(found, key=lambda file: (_number(file), file), reverse=True)


def _number(file: Path) -> int:
    match = _NAME.fullmatch(file.name)
    assert match is not None
    return int(match[1])
