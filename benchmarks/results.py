"""Results as JSON, with what they were measured with."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from purenn._files import write_whole

_PACKAGES = ("numpy", "scipy", "jax", "optax", "torch", "scikit-learn", "autograd")


def write(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write the file so that it is whole at any moment.

    Raises:
        SystemExit: it cannot be written; an old one is still there.
    """
    whole = {"environment": environment(), "results": results}
    try:
        write_whole(path, (json.dumps(whole, indent=1) + "\n").encode())
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}") from error


def environment() -> dict[str, Any]:
    """With what it was measured."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        **packages,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")
