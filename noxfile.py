"""What is run, and with what: ``nox`` lints, checks the types and runs the tests.

Each session makes its own environment. A Python that is not installed is left out with a word.
"""

import os
import shutil
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13"]

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "typecheck", "tests"]
# Under CI nox would take a missing Python for an error, and uv would fetch one.
nox.options.error_on_missing_interpreters = False
os.environ.setdefault("UV_PYTHON_DOWNLOADS", "never")


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: style, mistakes, formatting."""
    session.install("ruff>=0.9")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Mypy in strict mode, over everything."""
    session.install("mypy>=1.14", "nox", "-e", ".[dev]")
    session.run("mypy")


# What takes long is done once: the examiner's own tests with the older of the matrix' two releases
# of JAX, which is that of Python 3.11, and the examination of every rule with the newer. What knows
# most of JAX runs with both. Where a Python is missing, the others do everything.
_KNOWS_JAX = ("exact", "kinks")
_ELSEWHERE = ("ops", "verify", "conftest.py", "typechecker.py")
_SHARES = {
    "3.11": ["tests/verify"],
    "3.12": [str(p) for p in sorted(Path("tests").glob("[!_]*")) if p.name not in _ELSEWHERE],
    "3.13": ["tests/ops", *(f"tests/verify/test_{name}.py" for name in _KNOWS_JAX)],
}


# One of each kind; `nox -s mutants -- purenn.ops` takes all, some five minutes.
_MUTATED = (
    "purenn.ops", "relu", "gelu", "softmax", "dense", "max_pool", "layer_norm",
    "softmax_cross_entropy_with_integer_labels",
)  # fmt: skip


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests with the newest release of everything, shared out among the Pythons."""
    session.install("-e", ".[dev]")
    is_whole = all(shutil.which(f"python{version}") for version in PYTHONS)
    share = _SHARES[str(session.python)] if is_whole else ["tests"]
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *(session.posargs or share))
    if session.python == PYTHONS[0] and not session.posargs:
        session.run("python", "-m", "purenn", "verify", "--mutants", *_MUTATED)


@nox.session(python=PYTHONS[0])
def tests_oldest(session: nox.Session) -> None:
    """The tests, with the lowest version of every dependency that pyproject.toml allows."""
    session.install("uv")
    requirements = os.path.join(session.create_tmp(), "oldest.txt")
    session.run(
        "uv", "pip", "compile", "pyproject.toml", "--extra=dev", "--resolution=lowest-direct",
        f"--python-version={PYTHONS[0]}", f"--output-file={requirements}", "--quiet",
    )  # fmt: skip
    session.install("-r", requirements)
    session.install("--no-deps", "-e", ".")
    session.run("pytest", "-n", "auto", "--dist", "worksteal", *session.posargs)


@nox.session
def experiments(session: nox.Session) -> None:
    """Real runs that take long: digits to 98.5 %, the spiral, a run that is killed 50 times."""
    session.install("-e", ".[dev]")
    session.run("pytest", "-n", "auto", "-m", "experiment", *(session.posargs or ["tests"]))


@nox.session
def verify(session: nox.Session) -> None:
    """Examine every rule and print the table."""
    session.install("-e", ".[verify]")
    session.run("python", "-m", "purenn", "verify", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Seed mistakes into rules; the examiner must catch each of them."""
    session.install("-e", ".[verify]")
    rules = session.posargs or _MUTATED
    session.run("python", "-m", "purenn", "verify", "--mutants", *rules)


@nox.session
def accuracy(session: nox.Session) -> None:
    """Measure how accurate every rule is, and write docs/accuracy.md."""
    session.install("-e", ".[verify]")
    session.run("python", "-m", "benchmarks.accuracy", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Train on handwritten digits, then examine some of the rules: the short tour."""
    session.install("-e", ".[train,verify]")
    session.run("python", "-m", "purenn", "demo", *session.posargs)
    rules = ("sigmoid", "gelu", "relu", "dense", "softmax_cross_entropy_with_integer_labels")
    session.run("python", "-m", "purenn", "verify", "purenn.ops", *rules)


@nox.session
def bench(session: nox.Session) -> None:
    """Time every case beside its floor and its rivals, then memory and growth.

    `nox -s bench -- step` times one kind, and no more.
    """
    session.install("-e", ".[dev]", "autograd>=1.7")
    session.run("python", "-m", "benchmarks", *session.posargs)
    if not session.posargs:
        session.run("python", "-m", "benchmarks.memory")
        session.run("python", "-m", "benchmarks.growth")


@nox.session
def bench_torch(session: nox.Session) -> None:
    """Time the cases with PyTorch, whose wheel is large, among the rivals."""
    session.install("-e", ".[dev]", "autograd>=1.7", "torch>=2.5")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def bench_check(session: nox.Session) -> None:
    """Report what has become slower than benchmarks/baseline.json says."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "benchmarks.check", *session.posargs)
