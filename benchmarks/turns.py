"""Rivals take turns on the same data, so that what disturbs one disturbs all.

The medians and quartiles are of the ratios of neighbouring times. Compilation is not counted.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def ratios(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, Any]:
    """Time of the first over the time of each other, turn by turn."""
    for run in runs.values():
        run(), run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    ours, *others = runs
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[ours]) < 20:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: np.array(times[ours]) / times[name] for name in others}


def cell(ratio: Any) -> str:
    """Median and quartiles."""
    return "{1:.2f} ({0:.2f}-{2:.2f})".format(*np.quantile(ratio, (0.25, 0.5, 0.75)))


def on_each_number_of_cores(module: str, measure: Callable[[int], None]) -> None:
    """Measure in a process for each number of cores that there are."""
    if len(sys.argv) > 1:
        measure(int(sys.argv[1]))
        return
    cores = sorted(os.sched_getaffinity(0))
    for count in range(1, len(cores) + 1):
        # Each library reads its number of threads when it is loaded.
        variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(count))
        if count == 1:
            variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        chosen = ",".join(map(str, cores[:count]))
        command = ["taskset", "-c", chosen, sys.executable, "-m", module, str(count)]
        subprocess.run(command, check=True, env=os.environ | variables)
