"""Has anything become slower? Ratios beside those of ``benchmarks/baseline.json``.

    python -m benchmarks.check            # compare
    python -m benchmarks.check --write    # measure the baseline anew

A ratio that has grown by more than 15 % is measured again; one that has twice is reported, and
the exit status is 1. Machines differ, and so do their ratios: a baseline is good for one machine.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.__main__ import measured
from benchmarks.results import environment

BASELINE = Path(__file__).parent / "baseline.json"
CASES = (
    "step/64-32-10, batch 32",
    "step/784-128-10, batch 128",
    "step/784-512-512-10, batch 128",
    "step/digits CNN",
    "convolution/(64, 18, 18, 32) to 64, SAME",
    "softmax/128 × 10",
    "optimizers/adam, 1,863,690 parameters, donated",
    "optimizers/adam, 2,410 parameters, kept",
    "rules/gelu, (512, 1024)",
    "rules/lstm, (32, 50, 64) to 64",
    "scikit/digits, 64-128-10",
)
RIVALS = ("bare products", "JAX jit", "scikit-learn", "separately")
"""Those that the environment of the session has."""

_GROWN = 1.15


def main() -> int:
    """Compare, or write the baseline."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument("--write", action="store_true", help="measure the baseline anew")
    parser.add_argument("--seconds", type=float, default=3, help="per case (default: 3)")
    options = parser.parse_args()
    console = Console()
    if options.write:
        found = {case: ratios(case, options.seconds) for case in track(CASES, "measuring")}
        whole = {"environment": environment(), "ratios": found}
        BASELINE.write_text(json.dumps(whole, indent=1) + "\n")
        return 0
    before = json.loads(BASELINE.read_text())["ratios"]
    slower: list[str] = []
    for case in track(before, "measuring", console=console):
        grown = compared(before[case], ratios(case, options.seconds))
        if grown:
            grown = {
                rival: factor
                for rival, factor in compared(before[case], ratios(case, options.seconds)).items()
                if rival in grown
            }
        slower += [f"{case} ÷ {rival}: × {factor:.2f}" for rival, factor in grown.items()]
    for line in slower or ["nothing has become slower"]:
        console.print(line, highlight=False)
    return 1 if slower else 0


def ratios(case: str, seconds: float) -> dict[str, float]:
    """The median ratios of a case on one core.

    Raises:
        SystemExit: it failed.
    """
    try:
        found = measured(case, 1, seconds)["ratios"]
    except RuntimeError as error:
        raise SystemExit(f"{case}: {error}") from error
    return {rival: found[rival][1] for rival in RIVALS if rival in found}


def compared(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """By how much those have grown that have grown too much."""
    factors = {rival: now[rival] / before[rival] for rival in before if rival in now}
    return {rival: factor for rival, factor in factors.items() if factor > _GROWN}


if __name__ == "__main__":
    sys.exit(main())
