"""Modules by dotted name or by path."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType


class LoadError(Exception):
    """A module cannot be imported; the message says why, and where."""


def load(target: str) -> ModuleType:
    """The module that ``target`` names: a dotted name, or the path of a ``.py`` file or package.

    Beside a file lies what it imports, so its folder goes first in ``sys.path``.

    Raises:
        LoadError: there is no such module, or importing it raises.
    """
    if not is_path(target):
        return _imported(target, target)
    path = Path(target).resolve()
    if path.is_dir():
        if not (path / "__init__.py").exists():
            raise LoadError(f"{target} is a folder; give a .py file, a package or a dotted name")
    elif not path.exists():
        raise LoadError(f"there is no file {target}")
    elif path.suffix != ".py":
        raise LoadError(f"{target} is no Python file: its name does not end in .py")
    name, folder = path.stem, path.parent
    while (folder / "__init__.py").exists():
        name, folder = f"{folder.name}.{name}", folder.parent
    sys.path.insert(0, str(folder))
    known = sys.modules.get(name)
    if known is not None and not _is_at(known, path):
        raise LoadError(
            f"{target} has the name of a module that is loaded already, {name}; rename the file"
        )
    return _imported(name.removesuffix(".__init__"), target)


def is_path(target: str) -> bool:
    """Whether a target is a path rather than a dotted name."""
    return target.endswith(".py") or "/" in target or "\\" in target or Path(target).is_dir()


def _is_at(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() in (path, path / "__init__.py")


def _imported(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise LoadError(
                f"no module named {error.name}, neither installed nor in {Path.cwd()}"
            ) from error
        raise LoadError(f"importing {target}: {_told(error)}") from error
    except SyntaxError as error:
        at = f"{error.filename}:{error.lineno}"
        raise LoadError(f"importing {target}: SyntaxError: {error.msg} ({at})") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise LoadError(f"importing {target}: {_told(error)}") from error


def _told(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{at}"
