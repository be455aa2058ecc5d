"""The benchmarks run, and each measures the same work as its rivals. Nothing is timed here."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import check
from benchmarks.__main__ import names
from benchmarks.turns import OURS, measure

ROOT = Path(__file__).parent.parent
LARGE = ("1024-1024", "1,863,690", "512 × 1000")
COMPARED = [
    name for name in names() if name.startswith(("rules/layer_norm", "rules/att", "scikit/"))
]


def cases(kind: str) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = importlib.import_module(f"benchmarks.cases.{kind}").CASES
    return found


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", [n for n in names() if not any(large in n for large in LARGE)])
def test_ours_runs(name: str) -> None:
    kind, _, case = name.partition("/")
    rivals = cases(kind)[case]()
    assert next(iter(rivals)) == OURS
    run = rivals[OURS]()
    run()
    run()


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", ["step/64-32-10, batch 32", "step/digits CNN", *COMPARED])
def test_rivals_run(name: str) -> None:
    kind, _, case = name.partition("/")
    for rival, make in cases(kind)[case]().items():
        if rival in ("bare products", "JAX jit"):
            make()()


def test_a_case_from_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "softmax/3 × 3", "--cores", "1"]
    files = ["--json", str(tmp_path / "x.json"), "--plot", str(tmp_path / "x.png")]
    done = subprocess.run(
        [*command, "--seconds", "0", *files], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "softmax/3 × 3" in done.stdout
    found = json.loads((tmp_path / "x.json").read_text())
    (result,) = found["results"]
    assert {"separately", "Jacobian per example"} <= set(result["ratios"])
    low, middle, high = result["ratios"]["separately"]
    assert 0 < low <= middle <= high
    assert {"numpy", "jax", "python", "processor"} <= set(found["environment"])
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_who_is_not_there_is_left_out_with_a_word() -> None:
    def absent() -> Any:
        raise ImportError("No module named 'absent'")

    found = measure({OURS: lambda: lambda: None, "absent": absent}, 0)
    assert found.left_out == {"absent": "No module named 'absent'"}
    assert found.ratios == {}


def test_what_grew_by_more_than_15_percent_is_found() -> None:
    assert check.compared({"a": 1.0, "b": 2.0, "c": 1.0}, {"a": 1.1, "b": 2.4}) == {"b": 1.2}
    before = json.loads(check.BASELINE.read_text())["ratios"]
    assert set(before) == set(check.CASES)
    assert set(check.CASES) <= set(names())
