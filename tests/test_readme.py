"""What the README shows is so."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
SESSION, TRAINING, RULES, REFERENCE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_session_prints_what_it_says() -> None:
    test = doctest.DocTestParser().get_doctest(SESSION, {}, "README", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_loop_learns(capsys: pytest.CaptureFixture[str]) -> None:
    exec(TRAINING, {})
    losses = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_the_mistake_is_found(tmp_path: Path) -> None:
    (tmp_path / "my_rules.py").write_text(RULES)
    (tmp_path / "my_reference.py").write_text(REFERENCE)
    (command,) = re.findall(r"^purenn (verify my_rules .*)$", README, re.MULTILINE)
    result = subprocess.run(
        [sys.executable, "-m", "purenn", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert re.search(r"^dx\[\d, \d\]: got .*, expected ", result.stdout, re.MULTILINE)
    assert "from my_rules import mean_square_vjp" in result.stdout
