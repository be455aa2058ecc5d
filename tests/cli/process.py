"""The command, in a process of its own as it is used or in this one."""

import subprocess
import sys
from pathlib import Path

import pytest

from purenn.cli import main


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m purenn`` in a folder, without the type checks of the tests."""
    command = [sys.executable, "-m", "purenn", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> str:
    """It cannot run, and says so in one line; what else it has printed is returned."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith("purenn: ")
    assert message in told.err
    assert len(told.err.splitlines()) == 1
    return told.out
