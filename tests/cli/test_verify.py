"""``purenn verify`` as people use it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import run

FEW = ["--examples", "5"]
ROOT = Path(__file__).parent.parent.parent


def test_verify_passes_and_prints_a_row_per_rule_and_dtype(tmp_path: Path) -> None:
    result = run(ROOT, "verify", "purenn.ops", "relu", "gelu", *FEW)
    assert result.returncode == 0
    assert "seed 0" in result.stdout
    assert re.search(r"gelu\s+│ float32.*pass", result.stdout)
    assert "2 of 2 rules passed" in result.stdout
    assert "[2/2]" in result.stderr


def test_verify_of_one_dtype() -> None:
    result = run(ROOT, "verify", "purenn.ops", "relu", "--dtype", "bfloat16", *FEW)
    assert "bfloat16" in result.stdout
    assert "float64" not in result.stdout
    assert result.returncode == 0


RULES = """
import numpy as np
from purenn.typing import Array, Float, Pullback

def double(x: Float[Array, " n"]) -> Float[Array, " n"]:
    return 2 * x

def double_vjp(x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Pullback]:
    return 2 * x, lambda dy: (3 * dy,)

def cube(x: Float[Array, " n"]) -> Float[Array, " n"]:
    return x * x * x

def cube_grad(x: Float[Array, " n"]) -> Float[Array, " n"]:
    return 3 * x * x
"""


def test_verify_of_a_file_tells_people_programs_and_browsers(tmp_path: Path) -> None:
    (tmp_path / "my_rules.py").write_text(RULES)
    (tmp_path / "my_reference.py").write_text("def double(x):\n    return x + x\n")
    result = run(
        tmp_path, "verify", "my_rules.py", "--against", "my_reference.py",
        "--json", "out.json", "--html", "out.html", *FEW,
    )  # fmt: skip
    assert result.returncode == 1
    assert re.search(r"double: fail\nin float32: dx\[\d\]: got .*, expected", result.stdout)
    assert "cube: examined against numeric (no reference)" in result.stdout
    assert "1 of 2 rules passed" in result.stdout
    alone = run(tmp_path, "verify", "my_rules.py", "--against", "my_reference.py", "double", *FEW)
    assert "0 of 1 rules passed" in alone.stdout
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["environment"]["target"] == "my_rules.py"
    double, cube = report["rules"]
    assert (double["rule"], double["verdict"], cube["rule"], cube["verdict"]) == (
        "double",
        "fail",
        "cube",
        "pass",
    )
    assert set(double["worst_ulp"]) == set(double["autodiff_worst_ulp"]) == {"float32", "float64"}
    assert {"check": "cotangent dx", "verdict": "fail"}.items() <= next(
        check for check in double["checks"] if check["check"] == "cotangent dx"
    ).items()
    assert double["counterexample"] in result.stdout
    assert "double" in (tmp_path / "out.html").read_text()
    # The counterexample runs anywhere, and fails as the rule does.
    (tmp_path / "elsewhere.py").write_text(double["counterexample"])
    again = subprocess.run(
        [sys.executable, str(tmp_path / "elsewhere.py")], cwd="/", capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "AssertionError" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--against", "numpy"], "no module named nowhere, neither installed nor in"),
        (["purenn.ops", "--against", "nowhere.ops"], "no module named nowhere"),
        (["purenn.ops", "relux"], "no rule relux in purenn.ops; it has "),
        (["./my_rules.py", "--against", "numpy"], "there is no file ./my_rules.py"),
        (["purenn.tree", "--against", "reference.ops"], "purenn.tree holds no rule"),
        (["purenn.ops", "--json", "nowhere/out.json"], "--json: there is no folder nowhere"),
    ],
)
def test_verify_that_cannot_run_has_status_2_and_one_line(
    arguments: list[str], message: str
) -> None:
    result = run(ROOT, "verify", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("purenn: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_the_same_seed_gives_the_same_report(tmp_path: Path) -> None:
    (tmp_path / "my_rules.py").write_text(RULES)
    texts = []
    for name in ("one.json", "two.json"):
        run(tmp_path, "verify", "my_rules.py", "cube", "--seed", "3", "--json", name, *FEW)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]


def test_mutants_are_counted_per_rule() -> None:
    result = run(ROOT, "verify", "purenn.ops", "relu", "--mutants")
    assert result.returncode == 0
    assert re.search(r"relu │ +4\d │ +\d+ │ –", result.stdout)


def test_a_rule_that_ends_its_process_stops_no_mutants(tmp_path: Path) -> None:
    ends = "def ends_vjp(x: Float[np.ndarray, 'n']):\n    import os; os._exit(3)\n"
    (tmp_path / "my_rules.py").write_text(RULES + ends)
    result = run(tmp_path, "verify", "my_rules.py", "cube", "ends", "--mutants")
    assert result.returncode == 1
    assert "ends: error" in result.stderr
    assert re.search(r"ends +│ +0 │ +0 │ the rule itself", result.stdout)
    assert re.search(r"cube +│ +\d+ │", result.stdout)
