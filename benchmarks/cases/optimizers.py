"""A step of every optimizer upon all parameters of a network, beside optax and PyTorch."""

from collections.abc import Callable
from functools import partial
from inspect import isfunction
from itertools import pairwise
from typing import Any, get_type_hints

import numpy as np

from benchmarks import on_jax
from benchmarks.turns import Rivals, Run
from purenn import optimizers, tree

RATE = 1e-3
SOME, MANY, FEW, LEAVES = (784, 128, 10), (784, 1024, 1024, 10), (64, 32, 10), (64, *[20] * 39, 10)
"""Layer widths: 101,770 parameters in 4 leaves, 1,863,690 in 6, 2,410 in 4, and 17,470 in 80."""


def names() -> list[str]:
    """Every optimizer: what begins with a learning rate and needs no objective besides."""
    found = []
    for name in optimizers.__all__:
        hints = get_type_hints(make) if isfunction(make := getattr(optimizers, name)) else {}
        is_one = hints.get("return") is optimizers.GradientTransformation
        if is_one and next(iter(hints)) == "learning_rate" and not name.startswith("scale_by_"):
            found.append(name)
    return found


def rivals(widths: tuple[int, ...], name: str, donate: bool) -> Rivals:
    """The same step again and again, from the same start."""
    params, grads = draw(widths)
    found: Rivals = {
        "purenn": lambda: ours(params, grads, getattr(optimizers, name), donate),
        **on_jax.rivals(partial(compiled, params, grads, name, donate)),
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

    def run() -> Any:
        nonlocal params, state
        params, state = optimizers.apply_gradients(optimizer, grads, state, params, donate=donate)
        return params

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


def compiled(params: Any, grads: Any, name: str, donate: bool, device: Any) -> Run:
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
    params, grads, state = on_jax.put((params, grads, optimizer.init(params)), device)

    def run() -> Any:
        nonlocal params, state
        params, state = step(params, state, grads)
        return jax.block_until_ready(params)

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
        f"{name}, 101,770 parameters, {'donated' if donate else 'kept'}": partial(
            rivals, SOME, name, donate
        )
        for name in names()
        for donate in (True, False)
    },
}
