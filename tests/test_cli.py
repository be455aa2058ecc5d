import re
import subprocess
import sys
from pathlib import Path

import pytest

from purenn.cli import main

FEW = ["--examples", "5"]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m purenn`` in a folder."""
    command = [sys.executable, "-m", "purenn", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_verify_passes_and_prints_a_row_per_rule_and_dtype(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", "purenn.ops", "relu", "gelu", *FEW]) == 0
    out = capsys.readouterr().out
    assert out.count("pass") == 6 + 1
    assert "gelu(approximate=False)" in out
    assert "6 of 6 examinations passed" in out


def test_verify_of_one_dtype(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "purenn.ops", "relu", "--dtype", "float32", *FEW]) == 0
    assert "float64" not in capsys.readouterr().out


RULES = """
import numpy as np
from purenn.typing import Array, Float, Pullback

def double(x: Float[Array, " n"]) -> Float[Array, " n"]:
    return 2 * x

def double_vjp(x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Pullback]:
    return 2 * x, lambda dy: (3 * dy,)
"""


def test_verify_fails_with_status_1_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "my_rules.py").write_text(RULES)
    (tmp_path / "my_reference.py").write_text("def double(x):\n    return x + x\n")
    result = run(tmp_path, "verify", "my_rules", "--against", "my_reference", *FEW)
    assert result.returncode == 1
    assert re.search(r"double in float32: fail\ndx\[\d\]: got .*, expected", result.stdout)
    assert "from my_rules import double_vjp" in result.stdout
    assert "0 of 2 examinations passed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["numpy"], "numpy needs --against REFERENCE"),
        (["nowhere", "--against", "numpy"], "No module named 'nowhere', neither installed nor in"),
        (["purenn.ops", "--against", "nowhere.ops"], "No module named 'nowhere'"),
        (["purenn.ops", "relux"], "no rule relux in purenn.ops; it has relu, leaky_relu"),
        (["./my_rules.py", "--against", "numpy"], "./my_rules.py is a path; give the dotted name"),
        (["purenn.tree", "--against", "reference.ops"], "purenn.tree holds no rule"),
    ],
)
def test_verify_that_cannot_run_has_status_2_and_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("purenn: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["x = (", "1 / 0", "import nowhere"])
def test_a_module_that_cannot_be_imported_is_named_without_a_traceback(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "broken.py").write_text(text)
    result = run(tmp_path, "verify", "broken", "--against", "broken")
    assert result.returncode == 2
    assert result.stderr.startswith("purenn: ")
    assert "Traceback" not in result.stderr


def test_demo_refuses_a_kind_of_picture_that_there_is_not(tmp_path: Path) -> None:
    result = run(tmp_path, "demo", "--output", "digits.foo")
    assert result.returncode == 2
    assert "--output: digits.foo is none of " in result.stderr


@pytest.mark.parametrize("arguments", [[], ["verify", "--examples", "0"], ["dance"]])
def test_wrong_usage_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: purenn" in capsys.readouterr().err


def test_demo_learns_the_digits_and_saves_the_picture(tmp_path: Path) -> None:
    # In a process of its own, as it is used: without the type checks of the tests at every call.
    result = run(tmp_path, "demo", "--output", "digits.png")
    assert result.returncode == 0
    assert float(result.stdout.split("Test accuracy ")[1].split("%")[0]) >= 97
    picture = tmp_path / "digits.png"
    assert f"Picture: {picture}" in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_demo_with_nowhere_to_put_the_picture_does_not_train(tmp_path: Path) -> None:
    result = run(tmp_path, "demo", "--output", "missing/digits.png")
    assert result.returncode == 2
    assert "--output: there is no folder missing" in result.stderr
    assert result.stdout == ""
