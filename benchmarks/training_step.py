"""One training step of a multilayer perceptron, beside its bare matrix products and beside JAX.

python -m benchmarks.training_step
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

import reference.layers
import reference.ops.losses
import reference.training
from benchmarks.turns import cell, ratios
from purenn import layers, optimizers, random, training
from purenn.ops import losses

# (layer widths, batch size)
CASES = [
    ((64, 32, 10), 32),
    ((64, 128, 64, 10), 64),
    ((784, 128, 10), 128),
    ((784, 512, 512, 10), 128),
]


def bare_products(widths: tuple[int, ...], batch: int) -> Callable[[], object]:
    """The matrix products that a step cannot do without, and nothing else: the floor."""
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(batch, width)).astype(np.float32) for width in widths]
    kernels = [rng.normal(size=shape).astype(np.float32) for shape in pairwise(widths)]

    def step() -> None:
        for i, kernel in enumerate(kernels):
            x[i] @ kernel
        for i, kernel in reversed(list(enumerate(kernels))):
            x[i].T @ x[i + 1]
            if i:
                x[i + 1] @ kernel.T

    return step


def rivals(widths: tuple[int, ...], batch: int) -> dict[str, Callable[[], object]]:
    """The same step from the same state: forward, gradient, Adam."""
    loss, rate = "softmax_cross_entropy_with_integer_labels", 1e-3
    inputs = np.random.default_rng(1).normal(size=(batch, widths[0])).astype(np.float32)
    labels = np.random.default_rng(2).integers(0, widths[-1], batch).astype(np.int32)

    optimizer = optimizers.adam(rate)
    model = network(layers, widths)
    step = training.train_step(training.objective(model, getattr(losses, loss)), optimizer)
    state = training.init_state(model, optimizer, random.key(0), (widths[0],))

    theirs = reference.training.train_step(
        reference.training.objective(
            network(reference.layers, widths), getattr(reference.ops.losses, loss)
        ),
        optax.adam(rate),
    )
    their_state = reference.training.TrainState(*jax.tree.map(jax.numpy.asarray, state))
    their_state = their_state._replace(opt_state=optax.adam(rate).init(their_state.params))
    their_batch = (jax.numpy.asarray(inputs), jax.numpy.asarray(labels))
    return {
        "purenn": lambda: step(state, (inputs, labels)),
        "bare products": bare_products(widths, batch),
        "JAX jit": lambda: theirs(their_state, their_batch)[1]["loss"].block_until_ready(),
    }


def network(library: Any, widths: tuple[int, ...]) -> Any:
    """The same network in either library: dense layers with relu between them."""
    parts: dict[str, Any] = {}
    for i, width in enumerate(widths[1:]):
        parts |= {f"act{i}": library.relu} if i else {}
        parts[f"dense{i}"] = library.dense(width)
    return library.serial(**parts)


def main() -> None:
    """Print the table."""
    table = Table(
        "network", "batch", caption="time of a purenn step ÷ time of …: median (quartiles)"
    )
    for rival in ("bare products", "JAX jit"):
        table.add_column(rival, justify="right")
    for widths, batch in CASES:
        found = ratios(rivals(widths, batch), seconds=3).values()
        table.add_row("-".join(map(str, widths)), str(batch), *map(cell, found))
    Console().print(table)


if __name__ == "__main__":
    main()
