"""The layout that lets a reader find a rule, its reference and its test by one path segment."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import purenn

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src/purenn").rglob("*.py"))
OUTSIDE_VERIFY = [path for path in SOURCES if "verify" not in path.parts]
HEAVY = {
    *("jax", "hypothesis", "scipy", "sklearn", "matplotlib", "flint", "rich"),
    *("safetensors", "msgpack"),
}


def imports(path: Path) -> set[str]:
    """Top-level packages (and for purenn its modules) that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def public(folder: str) -> list[Path]:
    """The modules in a folder and below, by their path in it."""
    found = (ROOT / "src/purenn" / folder).rglob("[!_]*.py")
    return sorted(path.relative_to(ROOT / "src/purenn") for path in found)


@pytest.mark.parametrize("path", public("ops"), ids=str)
def test_every_module_of_rules_has_its_reference_and_its_tests(path: Path) -> None:
    assert (ROOT / "reference" / path).exists()
    assert (ROOT / "tests" / path.parent / f"test_{path.name}").exists()


@pytest.mark.parametrize("path", public("ops"), ids=str)
def test_every_module_of_rules_says_what_is_public(path: Path) -> None:
    module = importlib.import_module(".".join(["purenn", *path.with_suffix("").parts]))
    face = importlib.import_module(module.__name__.rpartition(".")[0])
    found = getattr(module, "__all__", None) or face.__all__
    defined = {
        name
        for name, member in vars(module).items()
        if callable(member) and getattr(member, "__module__", "") == module.__name__
    }
    assert {name for name in defined if not name.startswith("_")} <= {*found}


@pytest.mark.parametrize(
    "path",
    [
        path
        for name in ("layers", "optimizers", "schedules", "training", "checkpoints", "data", "runs")
        for path in public(name)
    ],
    ids=str,
)
def test_every_module_has_its_tests(path: Path) -> None:
    assert (ROOT / "tests" / path.parent / f"test_{path.name}").exists()


@pytest.mark.parametrize("path", OUTSIDE_VERIFY, ids=str)
def test_jax_and_hypothesis_stay_in_verify(path: Path) -> None:
    if path.name != "cli.py":  # which asks JAX for its version, when it is told to verify
        assert not packages(path) & {"jax", "hypothesis", "flint"}


@pytest.mark.parametrize("path", sorted((ROOT / "reference").rglob("*.py")), ids=str)
def test_the_reference_knows_nothing_of_the_rules(path: Path) -> None:
    ours = {name for name in imports(path) if name.startswith("purenn")}
    assert all(name.startswith("purenn.typing") for name in ours)
    defined = {node.name for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")}
    assert not any(str(name).endswith("_vjp") for name in defined)


@pytest.mark.parametrize("path", sorted((ROOT / "src/purenn/verify").glob("*.py")), ids=str)
def test_the_examiner_does_not_know_what_it_examines(path: Path) -> None:
    ours = {name for name in imports(path) if name.startswith("purenn")}
    assert all(name.startswith(("purenn.typing", "purenn.tree", "purenn.verify")) or
               name == "purenn" for name in ours)  # fmt: skip


def test_importing_the_library_loads_no_more_than_it_needs() -> None:
    modules = sorted({*purenn.__all__} - {"verify"})
    code = f"import sys, purenn; [getattr(purenn, m) for m in {modules}]; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "purenn.training" in loaded
    assert not HEAVY & set(loaded)


def test_files_stay_short() -> None:
    for path in (*SOURCES, *(ROOT / "reference").rglob("*.py"), *(ROOT / "tests").rglob("*.py")):
        assert len(path.read_text().splitlines()) <= 420, f"{path} wants to be a folder"
