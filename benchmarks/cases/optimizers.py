"""A step of every optimizer upon all parameters of a network, beside optax and PyTorch."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.turns import Rivals, Run
from purenn import optimizers, tree

RATE = 1e-3
MANY, FEW, LEAVES = (784, 1024, 1024, 10), (64, 32, 10), (64, *[20] * 39, 10)
"""Layer widths: 1,863,690 parameters in 6 leaves, 2,410 in 4, and 17,470 in 80."""

MAKES: dict[str, Callable[..., Any]] = {
    name: getattr(optimizers, name)
    for name in (
        "sgd", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax", "nadam", "amsgrad",
        "radam", "adabelief", "yogi", "lion", "lamb", "lars", "rprop",
    )
}  # fmt: skip


def rivals(widths: tuple[int, ...], name: str, donate: bool) -> Rivals:
    """The same step again and again, from the same start."""
    params, grads = draw(widths)
    found: Rivals = {
        "purenn": lambda: ours(params, grads, MAKES[name], donate),
        "JAX jit": lambda: compiled(params, grads, name, donate),
    }
    if name == "adam":
        found |= {
            "update, apply_updates": lambda: in_two(params, grads, donate),
            "PyTorch fused": lambda: pytorch(params, grads, fused=True),
            "PyTorch": lambda: pytorch(params, grads, fused=False),
        }
    return found


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


def ours(params: Any, grads: Any, make: Callable[..., Any], donate: bool) -> Run:
    """In one sweep."""
    optimizer = make(RATE)
    params = tree.map(np.copy, params)
    state = optimizer.init(params)

    def run() -> None:
        nonlocal params, state
        params, state = optimizers.apply_gradients(optimizer, grads, state, params, donate=donate)

    return run


def in_two(params: Any, grads: Any, donate: bool) -> Run:
    """The updates first; donated gradients are overwritten by them, and so are copied for each."""
    optimizer = optimizers.adam(RATE)
    params = tree.map(np.copy, params)
    state = optimizer.init(params)

    def run() -> None:
        nonlocal params, state
        given = tree.map(np.copy, grads) if donate else grads
        updates, state = optimizer.update(given, state, params, donate=donate)
        params = optimizers.apply_updates(params, updates, donate=donate)

    return run


def compiled(params: Any, grads: Any, name: str, donate: bool) -> Run:
    """optax in one program."""
    import jax
    import optax

    make = getattr(optax, name, None)
    if make is None:
        raise ImportError(f"optax has no {name}")
    optimizer = make(RATE)

    def both(params: Any, state: Any, grads: Any) -> Any:
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    step = jax.jit(both, donate_argnums=(0, 1) if donate else ())
    # A copy: what is donated is gone.
    params, grads = jax.tree.map(lambda leaf: jax.numpy.array(leaf), (params, grads))
    state = optimizer.init(params)

    def run() -> None:
        nonlocal params, state
        params, state = step(params, state, grads)
        jax.block_until_ready(params)

    return run


def pytorch(params: Any, grads: Any, fused: bool) -> Run:
    """PyTorch's, which always writes to its arrays."""
    import torch

    tensors = [torch.tensor(leaf, requires_grad=True) for leaf in tree.leaves(params)]
    for tensor, grad in zip(tensors, tree.leaves(grads), strict=True):
        tensor.grad = torch.tensor(grad)
    run: Run = torch.optim.Adam(tensors, lr=RATE, fused=fused).step
    return run


CASES = {
    **{
        f"adam, {count} parameters, {'donated' if donate else 'kept'}": partial(
            rivals, widths, "adam", donate
        )
        for count, widths in (("1,863,690", MANY), ("2,410", FEW), ("17,470", LEAVES))
        for donate in (True, False)
    },
    **{
        f"{name}, 1,863,690 parameters, donated": partial(rivals, MANY, name, True)
        for name in MAKES
        if name != "adam"
    },
}
