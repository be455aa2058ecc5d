"""Peak memory of a training step, by the operating system's account and by NumPy's.

    python -m benchmarks.memory

Both are told as ratios to the bytes of parameters, gradients, optimizer state and activations.
"""

import json
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import networks
from purenn import layers, optimizers, random, training, tree
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels

CASES = [
    ((784, 512, 512, 10), 128),
    ((784, 1024, 1024, 10), 512),
    ((784, 4096, 4096, 10), 128),
    ((256, 256, 256, 256, 256, 10), 8192),
]


def main() -> None:
    """Print the table; each case and kind is measured in a process of its own."""
    if len(sys.argv) > 1:
        print(json.dumps(_measured(*json.loads(sys.argv[1]))))
        return
    table = Table("network", "batch", "arrays", "needed", "NumPy", "system")
    for widths, size in CASES:
        for donate in (True, False):
            given = json.dumps([widths, size, donate])
            command = [sys.executable, "-m", "benchmarks.memory", given]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            needed, traced, resident = json.loads(done.stdout)
            table.add_row(
                "-".join(map(str, widths)), str(size), "donated" if donate else "kept",
                f"{needed / 2**20:.1f} MiB", f"{traced / needed:.2f}", f"{resident / needed:.2f}",
            )  # fmt: skip
    Console(width=100).print(table)


def _measured(widths: list[int], size: int, donate: bool) -> tuple[int, int, int]:
    inputs, labels = networks.batch(tuple(widths), size)
    model, optimizer = networks.dense(layers, tuple(widths)), optimizers.adam(1e-3)
    objective = training.objective(model, softmax_cross_entropy_with_integer_labels)
    step = training.train_step(objective, optimizer, donate=donate)
    small = training.init_state(model, optimizer, random.key(0), (widths[0],))
    # What is loaded at first use is no memory of a step.
    training.train_step(objective, optimizer, donate=donate)(small, (inputs[:1], labels[:1]))
    del small

    tracemalloc.start()
    before = _resident()
    state = training.init_state(model, optimizer, random.key(0), (widths[0],))
    for _ in range(3):
        state, _ = step(state, (inputs, labels))
    _, traced = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return _needed(state, widths, size), traced, _peak() - before


def _needed(state: Any, widths: list[int], size: int) -> int:
    """Parameters, gradients, two moments, and what the layers hand on."""
    parameters = sum(leaf.nbytes for leaf in tree.leaves(state.params))
    # A hidden layer hands on the sum and what relu makes of it.
    activations = sum(2 * size * width * 4 for width in widths[1:-1]) + size * widths[-1] * 4
    return int(4 * parameters + activations)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _peak() -> int:
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


if __name__ == "__main__":
    main()
