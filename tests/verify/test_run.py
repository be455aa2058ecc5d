import subprocess
import sys
from pathlib import Path

import pytest

from purenn.verify.run import CannotRunError, Job, Started, run
from purenn.verify.verdict import Verdict

RULES = """
import os, sys, time
import numpy as np
from jaxtyping import Float

X = Float[np.ndarray, "n"]

def right(x: X): return 2 * x
def right_vjp(x: X): return 2 * x, lambda dy: (2 * dy,)

def wrong(x: X): return 2 * x
def wrong_vjp(x: X): return 2 * x, lambda dy: (3 * dy,)

def raises(x: X): return 2 * x
def raises_vjp(x: X): raise RuntimeError("not today")

def leaves(x: X): return 2 * x
def leaves_vjp(x: X): sys.exit(3)

def crashes(x: X): return 2 * x
def crashes_vjp(x: X): os.abort()

def unsaid(x): return 2 * x
def unsaid_vjp(x): return 2 * x, lambda dy: (2 * dy,)

first = {}
def remembers(x: X): return x * x
def remembers_vjp(x: X):
    kept = first.setdefault(x.shape, x)
    return x * x, lambda dy: (2 * kept * dy,)

def hangs(x: X): return 2 * x
def hangs_vjp(x: X):
    while True:
        time.sleep(1)
"""
REFERENCE = "\n".join(
    f"def {name}(x): return x + x"
    for name in ("right", "wrong", "raises", "leaves", "crashes", "unsaid", "hangs")
)
REFERENCE += "\ndef remembers(x): return x * x"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "reference.py").write_text(REFERENCE)
    return tmp_path


def verdicts(job: Job) -> dict[str, Verdict]:
    names: list[str] = []
    found = dict(run(job, started=lambda news: names.extend(news.rules)))
    assert [found[i].rule for i in range(len(names))] == names
    return {verdict.rule: verdict for verdict in found.values()}


def test_each_rule_has_its_verdict_whatever_the_others_do(folder: Path) -> None:
    job = Job(str(folder / "rules.py"), str(folder / "reference.py"), examples=5, time_limit=20)
    found = verdicts(job)
    assert {name: verdict.verdict for name, verdict in found.items()} == {
        "right": "pass",
        "wrong": "fail",
        "raises": "error",
        "leaves": "error",
        "crashes": "error",
        "unsaid": "error",
        "remembers": "fail",
        "hangs": "error",
    }
    assert "it matters what was called before" in found["remembers"].reason
    assert "it matters what was called before" not in found["wrong"].reason
    for name in ("remembers", "wrong"):
        alone = subprocess.run(
            [sys.executable, "-c", found[name].counterexample], capture_output=True, text=True
        )
        assert "AssertionError" in alone.stderr
    assert "RuntimeError: not today" in found["raises"].reason
    assert "SIGABRT" in found["crashes"].reason
    assert "argument 'x' has no annotation" in found["unsaid"].reason
    assert found["hangs"].reason == "no input done for 20 s; a call of the rule may hang"
    assert found["leaves"].reason == "its process ended with status 3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", r"importing .*rules.py: SyntaxError: .* \(.*rules.py:1\)"),
        ("1 / 0", r"importing .*rules.py: ZeroDivisionError: division by zero \(.*rules.py:1\)"),
        ("import nowhere", r"importing .*rules.py: ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit(4)", r"importing .*rules.py: SystemExit: 4"),
        ("import os; os._exit(5)", r"importing .*rules.py ended the process with status 5"),
        ("import time\nwhile True: time.sleep(1)", r"importing .*rules.py is not done after 3 s"),
        ("x = 1", "rules holds no rule: no public function"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_in_one_line(
    folder: Path, text: str, message: str
) -> None:
    (folder / "rules.py").write_text(text)
    limit = 3 if "while" in text else 30  # what hangs is late on any machine
    with pytest.raises(CannotRunError, match=message) as told:
        list(run(Job(str(folder / "rules.py"), time_limit=limit)))
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(CannotRunError, match=r"there is no file .*missing.py"):
        list(run(Job(str(folder / "missing.py"))))
    with pytest.raises(CannotRunError, match=r"there is no file .*missing.py"):
        list(run(Job(str(folder / "rules.py"), str(folder / "missing.py"))))
    with pytest.raises(CannotRunError, match=r"no rule f, g in .*; it has right, wrong"):
        list(run(Job(str(folder / "rules.py"), rules=("f", "right", "g"))))


def test_the_environment_says_with_what_it_was_run(folder: Path) -> None:
    news: list[Started] = []
    job = Job(str(folder / "rules.py"), "numeric", rules=("right",), examples=2, seed=7)
    list(run(job, started=news.append))
    assert news[0].rules == ("right",)
    assert news[0].environment["seed"] == 7
    assert {"jax", "numpy", "python", "purenn", "devices"} <= set(news[0].environment)
