"""``purenn show``: what is in a checkpoint."""

import argparse
import sys
from pathlib import Path

from purenn.cli.errors import UsageError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those that there are."""
    parser = commands.add_parser(
        "show",
        help="show what is in a checkpoint",
        description="Show the leaves of a checkpoint with shape, dtype and size, and what was "
        "saved with them. Nothing in the file is executed. Exit status: 0 fine, 2 it is no whole "
        "checkpoint.",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a file, or the folder of a run: its best checkpoint, or the newest",
    )
    parser.set_defaults(run=_show, extra="train")


def find(path: Path) -> Path:
    """The file: of a run its best checkpoint, else its newest."""
    from purenn.checkpoints import BEST, steps
    from purenn.runs.train import FOLDER

    if not path.is_dir():
        return path
    for folder in (path, path / FOLDER):
        if (folder / BEST).is_file():
            return folder / BEST
        if steps(folder):
            return steps(folder)[0]
    raise UsageError(f"{path}: there is no checkpoint in this folder")


def _is_row(rows: list[object]) -> bool:
    """Whether it is what a run writes of its last epoch."""
    return any(
        isinstance(row, dict) and all(isinstance(each, float | int) for each in row.values())
        for row in rows
    )


def _shown(text: str) -> str:
    """Without the characters that would change what a terminal does."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _show(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from purenn.checkpoints import CheckpointError, read

    path = find(options.checkpoint)
    try:
        found = read(path)
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table("leaf", "shape", "dtype")
    table.add_column("entries", justify="right")
    table.add_column("bytes", justify="right")
    for name, array in found.arrays.items():
        shape = "×".join(map(str, array.shape)) or "–"
        table.add_row(
            Text(_shown(name)), shape, array.dtype.name, f"{array.size:,}", f"{array.nbytes:,}"
        )
    console.print(table)
    entries = sum(array.size for array in found.arrays.values())
    size = sum(array.nbytes for array in found.arrays.values())
    console.print(
        f"{len(found.arrays)} leaves, {entries:,} entries, {size:,} bytes: {path}", soft_wrap=True
    )
    for key, value in found.metadata.items():
        if key == "config" and isinstance(value, dict):
            for name, setting in value.items():
                console.print(Text(_shown(f"{name} = {setting!r}")), soft_wrap=True)
        elif key == "history" and isinstance(value, list) and _is_row(value[-1:]):
            row = ", ".join(f"{name} {number:.6g}" for name, number in value[-1].items())
            console.print(Text(_shown(f"last epoch: {row}")), soft_wrap=True)
        else:
            console.print(Text(_shown(f"{key}: {value}")), soft_wrap=True)
    return 0
