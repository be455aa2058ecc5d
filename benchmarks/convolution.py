"""Convolution forward and backward, beside the matrix products it must do and beside JAX.

    python -m benchmarks.convolution

Runs on each number of cores up to what there are, in processes of their own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.turns import cell, on_each_number_of_cores, ratios

# (shape of x, channels out, padding), all 3 × 3 in float32
CASES = [
    ((16, 34, 34, 64), 64, "VALID"),
    ((16, 34, 34, 64), 64, "SAME"),
    ((64, 18, 18, 32), 64, "VALID"),
    ((64, 18, 18, 32), 64, "SAME"),
    ((32, 10, 10, 1), 16, "VALID"),
    ((32, 10, 10, 1), 16, "SAME"),
]


def main() -> None:
    """Print the table of each number of cores."""
    on_each_number_of_cores("benchmarks.convolution", table)


def table(cores: int) -> None:
    """Measure in this process."""
    title = f"time of conv_vjp and its pullback on {cores} core(s) ÷ time of …: median (quartiles)"
    rows = Table("x", "out", "padding", caption=title)
    for rival in ("matrix products", "JAX jit"):
        rows.add_column(rival, justify="right")
    for shape, out, padding in CASES:
        found = ratios(rivals(shape, out, padding), seconds=4).values()
        rows.add_row(str(shape), str(out), padding, *map(cell, found))
    Console().print(rows)


def rivals(shape: tuple[int, ...], out: int, padding: str) -> dict[str, Callable[[], object]]:
    """Y, dx and dkernel from the same numbers."""
    import jax

    import reference.ops.convolution
    from purenn.ops import convolution

    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(3, 3, shape[-1], out)).astype(np.float32)
    y = convolution.conv(x, kernel, padding=padding)
    dy = rng.normal(size=y.shape).astype(np.float32)

    def ours() -> object:
        _, pullback = convolution.conv_vjp(x, kernel, padding=padding)
        return pullback(dy)

    @jax.jit
    def theirs(x: Any, kernel: Any, dy: Any) -> Any:
        y, pullback = jax.vjp(
            lambda x, kernel: reference.ops.convolution.conv(x, kernel, padding=padding), x, kernel
        )
        return y, pullback(dy)

    arguments = [jax.numpy.asarray(a) for a in (x, kernel, dy)]
    return {
        "purenn": ours,
        "matrix products": matrix_products(y.size // out, 9 * shape[-1], out),
        "JAX jit": lambda: theirs(*arguments)[1][1].block_until_ready(),
    }


def matrix_products(places: int, window: int, out: int) -> Callable[[], object]:
    """The floor: the three products of the copied windows, in memory that is there already."""
    rng = np.random.default_rng(0)
    columns, weights, y = (
        rng.normal(size=size).astype(np.float32)
        for size in ((places, window), (window, out), (places, out))
    )
    dcolumns, dweights = np.empty_like(columns), np.empty_like(weights)

    def step() -> None:
        np.matmul(columns, weights, out=y)
        np.matmul(columns.T, y, out=dweights)
        np.matmul(y, weights.T, out=dcolumns)

    return step


if __name__ == "__main__":
    main()
