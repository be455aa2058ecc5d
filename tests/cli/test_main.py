"""What all commands have in common."""

import subprocess
import sys

import pytest

import purenn
from purenn.cli import main


@pytest.mark.parametrize(
    "arguments", [[], ["verify", "--examples", "0"], ["dance"], ["demo", "x"], ["verify", "--x"]]
)
def test_wrong_usage_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: purenn" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"purenn {purenn.__version__}\n"


@pytest.mark.parametrize("command", ["verify", "train", "predict", "show", "demo"])
def test_every_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert f"usage: purenn {command}" in capsys.readouterr().out


def test_help_comes_without_loading_what_a_command_needs() -> None:
    code = (
        "import sys\n"
        "from purenn.cli import main\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {*done.stdout.splitlines()[-1].split()}
    assert not loaded & {"jax", "sklearn", "matplotlib", "safetensors", "scipy", "hypothesis"}
