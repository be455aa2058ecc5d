"""Activations, random numbers, dropout, attention and recurrences, beside JAX."""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from benchmarks import on_jax
from benchmarks.turns import Rivals, Run
from purenn import layers, random

SHAPE = (512, 1024)


def drawn(name: str, shape: tuple[int, ...]) -> Rivals:
    """Random numbers."""
    key = random.key(0)

    def theirs(device: Any) -> Run:
        import jax

        def draw(key: Any) -> Any:
            return getattr(jax.random, name)(jax.random.wrap_key_data(key), shape=shape)

        return on_jax.compiled(device, draw, key)

    return {
        "purenn": lambda: lambda: getattr(random, name)(key, shape=shape),
        **on_jax.rivals(theirs),
    }


def layer(make: Callable[[Any], Any], shape: tuple[int, ...]) -> Rivals:
    """Forward and backward of one layer."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model = make(layers)
    params, state, _ = model.init(random.key(0), shape[1:])
    key = random.key(1) if model.stochastic else None
    y = model.vjp(params, state, x, key)[0]
    dy = np.random.default_rng(1).normal(size=y.shape).astype(y.dtype)

    def ours() -> Any:
        y, pullback, _ = model.vjp(params, state, x, key)
        return y, pullback(dy)

    def theirs(device: Any) -> Run:
        import jax

        from benchmarks import jax_layers

        forward = make(jax_layers)

        def both(params: Any, x: Any, dy: Any, key: Any) -> Any:
            y, pullback = jax.vjp(lambda p, x: forward(p, state, x, key), params, x)
            return y, pullback(dy)

        return on_jax.compiled(device, both, params, x, dy, random.key(1))

    return {"purenn": lambda: ours, **on_jax.rivals(theirs)}


ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "silu", "gelu", "elu", "softplus", "mish")
CASES = {
    **{f"{name}, {SHAPE}": partial(layer, attrgetter(name), SHAPE) for name in ACTIVATIONS},
    **{f"{name}, {SHAPE}": partial(drawn, name, SHAPE) for name in ("uniform", "normal", "bits")},
    f"dropout, {SHAPE}": partial(layer, lambda library: library.dropout(0.5), SHAPE),
    "layer_norm, (512, 1024)": partial(layer, lambda library: library.layer_norm(), SHAPE),
    "attention, (16, 64, 128), 4 heads": partial(
        layer, lambda library: library.multi_head_attention(4), (16, 64, 128)
    ),
    "lstm, (32, 50, 64) to 64": partial(layer, lambda library: library.lstm(64), (32, 50, 64)),
    "gru, (32, 50, 64) to 64": partial(layer, lambda library: library.gru(64), (32, 50, 64)),
}
