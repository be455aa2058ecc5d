"""Files that are whole at any moment."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK = ".lock"

_TEMPORARY = re.compile(r"\..+\.purenn-(\d+)\.tmp")


def check_regular(path: Path) -> None:
    """Refuse a folder, and a pipe or a device, which may never end.

    Raises:
        OSError: it is one, or is not there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "is no regular file", str(path))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that there is always the old one or the new one, forced to the disk.

    Where there is a link, what it leads to is written.

    Raises:
        OSError: it cannot be written, or is something else than a file, and the old one is still
            there; or, if it is the folder that cannot be forced to the disk, the new one is, but
            might not outlast a power failure.
    """
    path = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        check_regular(path)
    temporary = path.with_name(f".{path.name}.purenn-{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The name is in the folder for good only once the folder is on the disk too.
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder alone, where the system knows locks; its mark is the file ``.lock``.

    Raises:
        BlockingIOError: another process has it.
        OSError: the file cannot be written.
    """
    with open(folder / LOCK, "ab") as file:
        try:
            import fcntl
        except ImportError:  # elsewhere than on POSIX
            fcntl = None  # type: ignore[assignment]
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
        yield


def remove_left_over(folder: Path) -> None:
    """Remove what processes that were killed while they wrote have left in a folder."""
    for file in folder.iterdir():
        match = _TEMPORARY.fullmatch(file.name)
        if match and not _is_running(int(match[1])):
            file.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # elsewhere signal 0 is one
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
