"""How a training step grows with batch, width and depth: the exponent of a fitted power.

    python -m benchmarks.growth

The bare matrix products grow with the same exponents where they are all that counts.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import networks
from benchmarks.turns import Run

BATCHES, WIDTHS, DEPTHS = (64, 128, 256, 512, 1024), (64, 128, 256, 512, 1024), (2, 4, 8, 16, 32)


def main() -> None:
    """Print the table."""
    table = Table("what grows", "from", "to", "time ∝", "bare products ∝")
    cases: dict[str, tuple[tuple[int, ...], Callable[[int], tuple[Any, int]]]] = {
        "batch": (BATCHES, lambda n: ((256, 256, 256, 10), n)),
        "width": (WIDTHS, lambda n: ((n, n, n, 10), 128)),
        "depth": (DEPTHS, lambda n: ((128, *[128] * n, 10), 128)),
    }
    for name, (sizes, case) in cases.items():
        ours, floor = [], []
        for size in sizes:
            widths, batch = case(size)
            make = partial(networks.dense, widths=widths)
            arrays = networks.batch(widths, batch)
            ours.append(_best(networks.ours(make, widths[:1], arrays, donate=True)))
            floor.append(_best(networks.bare_products(widths, batch)))
        letter = name[0]
        table.add_row(
            name, str(sizes[0]), str(sizes[-1]),
            *(f"{letter}^{_exponent(sizes, times):.2f}" for times in (ours, floor)),
        )  # fmt: skip
    Console().print(table)


def _best(run: Run, seconds: float = 0.4) -> float:
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def _exponent(sizes: Any, times: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


if __name__ == "__main__":
    main()
