"""Rivals take turns on the same data, so that what disturbs one disturbs all.

What is told are medians and quartiles of the ratios of neighbouring times. The first call of each,
which compiles, is timed apart; a rival that is not installed is left out with a word.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Run = Callable[[], object]
"""Does the work once."""

Rivals = dict[str, Callable[[], Run]]
"""By name, what makes a run ready; the first is ours. One that is not installed raises
ImportError."""

OURS = "purenn"
LEAST = 15  # turns
_TURN = 1e-3  # seconds at least: as in a loop, a run finds what the one before it has used


class Measured(NamedTuple):
    """What came of a case.

    Attributes:
        seconds: The median time of each.
        first: The time of the first call of each.
        ratios: Our time ÷ that of each other: first quartile, median, third quartile.
        left_out: Who did not take part, and why.
    """

    seconds: dict[str, float]
    first: dict[str, float]
    ratios: dict[str, tuple[float, float, float]]
    left_out: dict[str, str]


def measure(rivals: Rivals, seconds: float) -> Measured:
    """Let them take turns for so long.

    Raises:
        ImportError: what ours needs is not installed.
    """
    runs: dict[str, Run] = {}
    left_out: dict[str, str] = {}
    first: dict[str, float] = {}
    for name, make in rivals.items():
        try:
            runs[name] = make()
            first[name] = _timed(runs[name])
        except ImportError as error:
            if name == OURS:
                raise
            left_out[name] = str(error)
            runs.pop(name, None)
    repeats = {name: _repeats(run) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, rng = [*runs], np.random.default_rng(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[OURS]) < LEAST:
        rng.shuffle(order)  # threads of the one before may still be at work
        for name in order:
            times[name].append(_timed(runs[name], repeats[name]))
    return Measured(
        {name: float(np.median(its)) for name, its in times.items()},
        first,
        {name: _quartiles(np.array(times[OURS]) / its) for name, its in times.items()
         if name != OURS},
        left_out,
    )  # fmt: skip


def _repeats(run: Run) -> int:
    """How often it is run in a turn, by the fastest of a few: the first ones are slower."""
    count = 1
    while (seconds := min(_timed(run, count) for _ in range(5))) * count < _TURN:
        count = max(count + 1, math.ceil(_TURN / seconds))
    return count


def _timed(run: Run, repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def _quartiles(ratios: Any) -> tuple[float, float, float]:
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)
