"""What the README shows is so."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
SESSION, TRAINING, CHAINED, LOOP, MESH, RULES, REFERENCE, SUITE = re.findall(
    r"```python\n(.*?)```", README, re.DOTALL
)


def test_the_session_prints_what_it_says() -> None:
    test = doctest.DocTestParser().get_doctest(SESSION, {}, "README", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_loop_learns(capsys: pytest.CaptureFixture[str]) -> None:
    exec(TRAINING, {})
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_the_chain_takes_its_step(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(TRAINING + CHAINED, names)
    start = names["training"].init_state(
        names["model"], names["optimizer"], names["init_key"], input_shape=(64,)
    )
    batch = names["inputs"], names["labels"]
    state, _ = names["step"](start, batch)
    state, metrics = names["step"](state, batch)
    assert state.step == 2
    assert metrics["loss"] < 3


def test_the_whole_loop_and_the_way_to_the_mesh_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(TRAINING + LOOP, names)
    assert names["scores"]["accuracy"] > 0.95
    assert (tmp_path / "run/best.safetensors").exists()
    before = int(names["state"].step)
    # The device that the mesh is made of.
    with jax.default_device(None):
        exec(MESH, names)
    assert int(names["state"].step) == before + 1
    after, _ = names["step"](names["state"], (names["train_x"], names["train_y"]))
    assert int(after.step) == before + 2


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    (block,) = re.findall(r"```sh\n(purenn train.*?)```", README, re.DOTALL)
    for line in block.splitlines():
        result = run(tmp_path, "purenn", *shlex.split(line)[1:])
        assert result.returncode == 0, result.stderr
        assert result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_rules.py").write_text(RULES)
    (tmp_path / "my_reference.py").write_text(REFERENCE)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_mistake_is_found(folder: Path) -> None:
    (command,) = re.findall(r"^purenn (verify my_rules.py .*)$", README, re.MULTILINE)
    result = run(folder, "purenn", *command.split())
    assert result.returncode == 1
    assert re.search(r"^in float32: dx\[\d, \d\]: got .*, expected ", result.stdout, re.MULTILINE)
    (story,) = re.findall(r"^this is what you get if .*$", README, re.MULTILINE)
    assert story in result.stdout
    assert "from my_rules import mean_square_vjp" in result.stdout


def test_the_suite_finds_it_too(folder: Path) -> None:
    (folder / "test_mine.py").write_text(SUITE)
    result = run(folder, "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py")
    assert result.returncode == 1
    assert "test_derivative[mean_square]" in result.stdout
    assert "DerivativeError: mean_square: fail" in result.stdout
