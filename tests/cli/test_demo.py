"""``purenn demo`` as people use it."""

from pathlib import Path

from tests.cli.process import run


def test_demo_refuses_a_kind_of_picture_that_there_is_not(tmp_path: Path) -> None:
    result = run(tmp_path, "demo", "--output", "digits.foo")
    assert result.returncode == 2
    assert "--output: digits.foo is none of " in result.stderr


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
