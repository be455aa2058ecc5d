import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from purenn.verify.load import LoadError, load


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file_finds_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "helper_of_mine.py").write_text("value = 3\n")
    (tmp_path / "rules_of_mine.py").write_text("from helper_of_mine import value\n")
    assert load(str(tmp_path / "rules_of_mine.py")).value == 3


def test_a_file_of_a_package_is_imported_as_such(tmp_path: Path) -> None:
    package = tmp_path / "package_of_mine" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package.parent / "helper.py").write_text("value = 4\n")
    (package / "rules.py").write_text("from ..helper import value\n")
    module = load(str(package / "rules.py"))
    assert module.value == 4
    assert module.__name__ == "package_of_mine.inner.rules"
    assert load(str(package)).__name__ == "package_of_mine.inner"


def test_a_dotted_name_is_imported() -> None:
    assert load("purenn.ops.linear").__name__ == "purenn.ops.linear"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.py", "there is no file .*missing.py"),
        ("rules.txt/", "there is no file"),
        ("", "is a folder; give a .py file, a package or a dotted name"),
        ("notes.md", "is no Python file"),
        ("json.py", "has the name of a module that is loaded already, json; rename the file"),
    ],
)
def test_a_path_that_is_no_module_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "notes.md").write_text("")
    (tmp_path / "json.py").write_text("")
    with pytest.raises(LoadError, match=message):
        load(f"{tmp_path}/{name}")


def test_a_dotted_name_that_is_no_module_is_named() -> None:
    with pytest.raises(LoadError, match="no module named nowhere, neither installed nor in"):
        load("nowhere.rules")
    with pytest.raises(LoadError, match=r"no module named purenn.nowhere"):
        load("purenn.nowhere")
