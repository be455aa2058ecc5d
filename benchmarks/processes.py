"""What is measured has a process of its own, with so many cores and as many threads."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

# Each library reads its number of threads when it is loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def available() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def answer(*arguments: str, cores: int) -> Any:
    """What ``python -m`` with these arguments prints last, which is JSON.

    Raises:
        RuntimeError: it failed; the message is the last line of its error.
    """
    variables = dict.fromkeys(_THREADS, str(cores))
    if cores == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    every = available()
    os.sched_setaffinity(0, every[:cores])  # which the process inherits
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )
    finally:
        os.sched_setaffinity(0, every)
    if done.returncode < 0:
        raise RuntimeError(f"killed by {signal.Signals(-done.returncode).name}")
    if done.returncode > 0:
        lines = done.stderr.strip().splitlines()
        raise RuntimeError(lines[-1].strip() if lines else f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])
