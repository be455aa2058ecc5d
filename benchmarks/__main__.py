"""Run the suite: ``python -m benchmarks`` for all, ``python -m benchmarks step`` for one kind."""

import argparse
import importlib
import json
import math
import pkgutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

import benchmarks.cases
from benchmarks import processes, report, results
from benchmarks.profiling import profiled
from benchmarks.turns import OURS, Rivals, measure


def names() -> list[str]:
    """All cases, as ``kind/case``."""
    found = []
    for module in pkgutil.iter_modules(benchmarks.cases.__path__):
        cases = importlib.import_module(f"benchmarks.cases.{module.name}").CASES
        found += [f"{module.name}/{case}" for case in cases]
    return found


def rivals(name: str) -> Rivals:
    """Those of a case."""
    kind, _, case = name.partition("/")
    found: Rivals = importlib.import_module(f"benchmarks.cases.{kind}").CASES[case]()
    return found


def main() -> int:
    """Measure the cases that are asked for, each in a process of its own per number of cores."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options = _options(parser)
    if options.in_this_process:
        print(json.dumps(_measured_here(options.cases[0], options.seconds, options.profile)))
        return 0
    chosen = [name for name in names() if name.startswith(tuple(options.cases or [""]))]
    if options.list:
        print("\n".join(chosen))
        return 0
    if not chosen:
        parser.error(f"no case begins with {' or '.join(options.cases)}; --list shows all")
    console = Console(width=None if sys.stdout.isatty() else 150)
    found: list[dict[str, Any]] = []
    pairs = [(name, cores) for name in chosen for cores in options.cores]
    for name, cores in track(pairs, "measuring", console=console, disable=not console.is_terminal):
        result: dict[str, Any] = {"case": name, "cores": cores}
        try:
            result |= measured(name, cores, options.seconds, options.profile)
        except RuntimeError as error:
            result["error"] = str(error)
        found.append(result)
        if options.json is not None:
            results.write(options.json, found)
        for line in report.lines(result):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    report.show(found, console)
    if options.plot is not None:
        report.plot(found, options.plot)
    return 1 if any("error" in result for result in found) else 0


def _options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    count = len(processes.available())
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="beginnings of names (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="print the names and do no more")
    parser.add_argument(
        "--cores",
        type=int,
        nargs="+",
        metavar="N",
        default=[1, 2][:count],
        help="numbers of cores and of threads (default: 1 2)",
    )
    parser.add_argument(
        "--seconds", type=float, default=3, metavar="S", help="per case (default: 3)"
    )
    parser.add_argument("--profile", action="store_true", help="tell where our time goes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for cores in options.cores:
        if not 1 <= cores <= count:
            parser.error(f"--cores: got {cores}, expected 1 to {count}, which this process may use")
    if not 0 <= options.seconds < math.inf:
        parser.error(f"--seconds: got {options.seconds}, expected a finite number ≥ 0")
    for path in (options.json, options.plot):
        if path is not None and not path.resolve().parent.is_dir():
            parser.error(f"there is no folder {path.parent}")
        if path is not None and path.is_dir():
            parser.error(f"{path} is a folder, expected a file")
    return options


def measured(name: str, cores: int, seconds: float, profile: bool = False) -> dict[str, Any]:
    """Measure a case in a process of its own.

    Raises:
        RuntimeError: it failed; the message is the last line of its error.
    """
    more = ["--profile"] if profile else []
    arguments = ["benchmarks", name, "--in-this-process", "--seconds", str(seconds), *more]
    found: dict[str, Any] = processes.answer(*arguments, cores=cores)
    return found


def _measured_here(name: str, seconds: float, profile: bool) -> dict[str, Any]:
    its = rivals(name)
    found = measure(its, seconds)._asdict()
    return found | ({"profile": profiled(its[OURS]())} if profile else {})


if __name__ == "__main__":
    sys.exit(main())
