"""The command in a process of its own, as it is used: without the type checks of the tests."""

import subprocess
import sys
from pathlib import Path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m purenn`` in a folder."""
    command = [sys.executable, "-m", "purenn", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
