"""How time grows with batch, width, depth and what else there is: the exponent of a fitted power.

    python -m benchmarks.growth            # all, on one core
    python -m benchmarks.growth step       # one kind

Each case of the suite at several sizes beside its floor, or one rival: where the exponents are the
same, what is added to the arithmetic grows no faster than it.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks import processes, results
from benchmarks.cases import convolution, optimizers, rules, softmax, step
from benchmarks.turns import OURS, Rivals, measure

SECONDS = 0.15  # per size


class Series(NamedTuple):
    """A case that grows.

    Attributes:
        sizes: What it grows with.
        rivals: The case at a size.
        beside: The rival whose growth is told.
    """

    sizes: tuple[int, ...]
    rivals: Callable[[int], Rivals]
    beside: str


def _attention(*shape: int) -> Rivals:
    return rules.layer(lambda library: library.multi_head_attention(4), shape)


def _lstm(*shape: int) -> Rivals:
    return rules.layer(lambda library: library.lstm(shape[-1]), shape)


def _powers(low: int, high: int, times: int = 2) -> tuple[int, ...]:
    return tuple(times**i for i in range(low, high + 1))


_FLOOR, _JAX = "bare products", "JAX jit"

SERIES = {
    "step/batch": Series(_powers(6, 10), lambda n: step.rivals((256, 256, 256, 10), n), _FLOOR),
    "step/width": Series(_powers(6, 10), lambda n: step.rivals((n, n, n, 10), 128), _FLOOR),
    "step/depth": Series(_powers(1, 5), lambda n: step.rivals((128, *[128] * n, 10), 128), _FLOOR),
    "convolution/batch": Series(
        _powers(2, 6), lambda n: convolution.rivals((n, 18, 18, 16), 16, "VALID"), _FLOOR
    ),
    "convolution/channels": Series(
        _powers(2, 6), lambda n: convolution.rivals((16, 18, 18, n), n, "VALID"), _FLOOR
    ),
    "convolution/side": Series(
        _powers(3, 7), lambda n: convolution.rivals((2, n, n, 16), 16, "SAME"), _FLOOR
    ),
    "softmax/batch": Series(_powers(3, 7, 4), lambda n: softmax.rivals(n, 64), _JAX),
    "softmax/classes": Series(_powers(1, 6, 4), lambda n: softmax.rivals(64, n), _JAX),
    "adam/parameters": Series(
        _powers(5, 10, 4), lambda n: optimizers.rivals((1, n // 2), "adam", True), _JAX
    ),
    "attention/batch": Series(_powers(0, 4), lambda n: _attention(n, 64, 128), _JAX),
    "attention/length": Series(_powers(5, 9), lambda n: _attention(2, n, 128), _JAX),
    "lstm/batch": Series(_powers(3, 7), lambda n: _lstm(n, 16, 64), _JAX),
    "lstm/steps": Series(_powers(3, 7), lambda n: _lstm(16, n, 64), _JAX),
    "lstm/width": Series(_powers(4, 8), lambda n: _lstm(16, 16, n), _JAX),
    "bits/size": Series(_powers(5, 10, 4), lambda n: rules.drawn("bits", (n,)), _JAX),
}


def main() -> int:
    """Print the table; each case is measured in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="beginnings of names (default: all)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_this_process:
        print(json.dumps(_measured_here(SERIES[options.cases[0]])))
        return 0
    chosen = [name for name in SERIES if name.startswith(tuple(options.cases or [""]))]
    if not chosen:
        parser.error(f"no case begins with {' or '.join(options.cases)}; it is {', '.join(SERIES)}")
    console = Console(width=None if sys.stdout.isatty() else 100)
    table = Table("case", "sizes", "ours ∝", "rival ∝", "rival")
    found: list[dict[str, Any]] = []
    for name in track(chosen, "measuring", console=console, disable=not console.is_terminal):
        result: dict[str, Any] = {"case": name}
        try:
            result |= processes.answer("benchmarks.growth", name, "--in-this-process", cores=1)
        except RuntimeError as error:
            result["error"] = str(error)
            console.print(f"{name}: failed: {error}", markup=False, highlight=False)
        else:
            table.add_row(name, *_cells(result))
        found.append(result)
        if options.json is not None:
            results.write(options.json, found)
    console.print(table)
    return 1 if any("error" in result for result in found) else 0


def _measured_here(series: Series) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {OURS: [], series.beside: []}
    for size in series.sizes:
        its = series.rivals(size)
        two = measure({name: its[name] for name in seconds}, SECONDS)
        for name, time in two.seconds.items():
            seconds[name].append(time)
    return {
        "sizes": series.sizes,
        "seconds": seconds,
        "exponents": {
            name: exponent(series.sizes, times) for name, times in seconds.items() if times
        },
    }


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float:
    """The a of the power c·nᵃ that is nearest, in its logarithm."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _cells(result: dict[str, Any]) -> list[str]:
    exponents = dict(result["exponents"])
    ours = exponents.pop(OURS)
    sizes = f"{result['sizes'][0]:,} to {result['sizes'][-1]:,}"
    cells = [[f"n^{its:.2f}", name] for name, its in exponents.items()]
    return [sizes, f"n^{ours:.2f}", *(cells[0] if cells else [])]


if __name__ == "__main__":
    sys.exit(main())
