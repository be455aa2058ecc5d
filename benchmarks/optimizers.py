"""A step of Adam upon all parameters of a network, beside JAX, optax and PyTorch.

    python -m benchmarks.optimizers

Runs on each number of cores up to what there are, in processes of their own. PyTorch is left out
where it is not installed.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from benchmarks.turns import cell, on_each_number_of_cores, ratios
from purenn import optimizers, tree

# Layer widths: 1,863,690 parameters in 3 layers, 2,410 in 2, and 17,470 in 40.
CASES = [(784, 1024, 1024, 10), (64, 32, 10), (64, *[20] * 39, 10)]
RATE = 1e-3


def main() -> None:
    """Print the table of each number of cores."""
    on_each_number_of_cores("benchmarks.optimizers", table)


def table(cores: int) -> None:
    """Measure in this process."""
    for donate in (True, False):
        given = "donated" if donate else "kept"
        title = f"time of apply_gradients, arrays {given}, {cores} core(s) ÷ time of …"
        rows = Table("parameters", caption=f"{title}: median (quartiles)")
        _, *others = rivals(CASES[1], donate)
        for rival in others:
            rows.add_column(rival, justify="right")
        for widths in CASES:
            params, _ = draw(widths)
            count = sum(leaf.size for leaf in tree.leaves(params))
            found = ratios(rivals(widths, donate), seconds=3)
            rows.add_row(f"{count:,}", *map(cell, found.values()))
        Console(width=160).print(rows)


def draw(widths: tuple[int, ...]) -> tuple[Any, Any]:
    """Parameters and gradients of a network of dense layers."""
    rng = np.random.default_rng(0)
    params = {
        f"layer{i}": {
            "kernel": rng.normal(size=shape).astype(np.float32),
            "bias": np.zeros(shape[1], np.float32),
        }
        for i, shape in enumerate(pairwise(widths))
    }
    return params, tree.map(lambda p: (0.01 * rng.normal(size=p.shape)).astype(p.dtype), params)


def rivals(widths: tuple[int, ...], donate: bool) -> dict[str, Callable[[], object]]:
    """The same step again and again, from the same start."""
    params, grads = draw(widths)
    return {
        "purenn": ours(params, grads, donate),
        "update, apply_updates": in_two(params, grads, donate),
        "JAX jit": compiled(params, grads, donate),
        "optax": eager(params, grads),
        **pytorch(params, grads),
    }


def ours(params: Any, grads: Any, donate: bool) -> Callable[[], object]:
    """In one sweep."""
    optimizer = optimizers.adam(RATE)
    params = tree.map(np.copy, params)
    state = optimizer.init(params)

    def step() -> None:
        nonlocal params, state
        params, state = optimizers.apply_gradients(optimizer, grads, state, params, donate=donate)

    return step


def in_two(params: Any, grads: Any, donate: bool) -> Callable[[], object]:
    """The updates first; donated gradients are overwritten by them, and so are copied for each."""
    optimizer = optimizers.adam(RATE)
    params = tree.map(np.copy, params)
    state = optimizer.init(params)

    def step() -> None:
        nonlocal params, state
        given = tree.map(np.copy, grads) if donate else grads
        updates, state = optimizer.update(given, state, params, donate=donate)
        params = optimizers.apply_updates(params, updates, donate=donate)

    return step


def compiled(params: Any, grads: Any, donate: bool) -> Callable[[], object]:
    """optax in one program."""
    optimizer = optax.adam(RATE)

    def both(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    run = jax.jit(both, donate_argnums=(0, 1) if donate else ())
    params, grads = jax.tree.map(jax.numpy.asarray, (params, grads))
    state = optimizer.init(params)

    def step() -> None:
        nonlocal params, state
        params, state = run(params, state, grads)
        jax.tree.map(lambda leaf: leaf.block_until_ready(), params)

    return step


def eager(params: Any, grads: Any) -> Callable[[], object]:
    """optax, operation by operation."""
    optimizer = optax.adam(RATE)
    params, grads = jax.tree.map(jax.numpy.asarray, (params, grads))
    state = optimizer.init(params)

    def step() -> None:
        nonlocal params, state
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        jax.tree.map(lambda leaf: leaf.block_until_ready(), params)

    return step


def pytorch(params: Any, grads: Any) -> dict[str, Callable[[], object]]:
    """PyTorch's, which always writes to its arrays: fused, or operation by operation."""
    try:
        import torch
    except ImportError:
        return {}

    def make(fused: bool) -> Callable[[], object]:
        tensors = [torch.tensor(leaf, requires_grad=True) for leaf in tree.leaves(params)]
        for tensor, grad in zip(tensors, tree.leaves(grads), strict=True):
            tensor.grad = torch.tensor(grad)
        step: Callable[[], object] = torch.optim.Adam(tensors, lr=RATE, fused=fused).step
        return step

    return {"PyTorch fused": make(True), "PyTorch": make(False)}


if __name__ == "__main__":
    main()
