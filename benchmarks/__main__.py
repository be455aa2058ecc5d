"""Run the suite: ``python -m benchmarks`` for all, ``python -m benchmarks step`` for one kind."""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

import benchmarks.cases
from benchmarks import report
from benchmarks.turns import measure

_PACKAGES = ("numpy", "scipy", "jax", "optax", "torch", "scikit-learn", "autograd")


def names() -> list[str]:
    """All cases, as ``kind/case``."""
    found = []
    for module in pkgutil.iter_modules(benchmarks.cases.__path__):
        cases = importlib.import_module(f"benchmarks.cases.{module.name}").CASES
        found += [f"{module.name}/{case}" for case in cases]
    return found


def main() -> None:
    """Measure the cases that are asked for, each in a process of its own per number of cores."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="beginnings of names (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="print the names and do no more")
    parser.add_argument(
        "--cores",
        type=int,
        nargs="+",
        metavar="N",
        default=[1, 2],
        help="numbers of cores and of threads (default: 1 2)",
    )
    parser.add_argument(
        "--seconds", type=float, default=3, metavar="S", help="per case (default: 3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = [
        name
        for name in names()
        if not options.cases or any(name.startswith(case) for case in options.cases)
    ]
    if options.list:
        print("\n".join(chosen))
        return
    if not chosen:
        parser.error(f"no case begins with {' or '.join(options.cases)}; --list shows all")
    if options.in_this_process:
        kind, _, case = chosen[0].partition("/")
        rivals = importlib.import_module(f"benchmarks.cases.{kind}").CASES[case]()
        print(json.dumps(measure(rivals, options.seconds)._asdict()))
        return
    for path in (options.json, options.plot):
        if path is not None and not path.resolve().parent.is_dir():
            parser.error(f"there is no folder {path.parent}")
    console = Console(width=None if sys.stdout.isatty() else 150)
    results = list(_results(chosen, options.cores, options.seconds, console))
    whole = {"environment": environment(), "results": results}
    report.show(whole, console)
    if options.json is not None:
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    if options.plot is not None:
        report.plot(whole, options.plot)


def _results(
    chosen: list[str], cores: list[int], seconds: float, console: Console
) -> Iterator[dict[str, Any]]:
    pairs = [(name, count) for name in chosen for count in cores]
    for name, count in track(pairs, "measuring", console=console, disable=not console.is_terminal):
        yield {"case": name, "cores": count, **in_process(name, count, seconds)}


def in_process(name: str, cores: int, seconds: float) -> dict[str, Any]:
    """Measure a case in a process that has so many cores, and as many threads in each library."""
    available = sorted(os.sched_getaffinity(0))
    # Each library reads its number of threads when it is loaded.
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    variables = dict.fromkeys(threads, str(cores)) | {"JAX_PLATFORMS": _platforms()}
    if cores == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    command = [sys.executable, "-m", "benchmarks", name, "--in-this-process"]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, available[:cores]),
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _platforms() -> str:
    return os.environ.get("JAX_PLATFORMS", "")


def environment() -> dict[str, Any]:
    """With what it was measured."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        **packages,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")


if __name__ == "__main__":
    main()
