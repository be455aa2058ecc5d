"""Files as they should not be, and what reading them may cost."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from purenn.data import DataError

MIB = 1 << 20


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    """What runs inside allocates no more than ``limit`` bytes at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= limit, f"{peak} bytes were allocated"


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Flip, insert, delete or repeat bytes, most of them near the ends, where the headers are."""
    for _ in range(draw(st.integers(1, 4))):
        size = len(data)
        place = draw(
            st.integers(0, size)
            | st.integers(0, min(64, size))
            | st.integers(max(0, size - 200), size)
        )
        length = draw(st.integers(0, 4) | st.integers(0, size))
        kind = draw(st.sampled_from(["flip", "overwrite", "insert", "delete", "repeat", "cut"]))
        some = draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, b"\0" * 8]))
        match kind:
            case "flip":
                place = min(place, size - 1)
                flipped = data[place : place + 1]
                bit = 1 << draw(st.integers(0, 7))
                data = data[:place] + bytes(byte ^ bit for byte in flipped) + data[place + 1 :]
            case "overwrite":
                data = data[:place] + some + data[place + len(some) :]
            case "insert":
                data = data[:place] + some + data[place:]
            case "delete":
                data = data[:place] + data[place + length :]
            case "repeat":
                data = data[: place + length] + data[place:]
            case "cut":
                data = data[:place]
        data = data or b"\0"
    return data


def outcome(read: Callable[[], Any], path: Path, limit: int = 16 * MIB) -> Any:
    """What reading gives, or ``None`` where it is refused in one line that names the file."""
    refused = None
    with at_most(limit):
        try:
            return read()
        except DataError as error:
            refused = error
    message = str(refused)
    assert message.startswith(f"{path}: ")
    assert not message.endswith(": ")
    assert message.isprintable(), "which a line break is not"
    assert len(message) < len(str(path)) + 500
    assert refused.__suppress_context__ or refused.__context__ is None
    return None
