"""Random numbers, dropout, attention and an LSTM, beside JAX."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.turns import Rivals, Run
from purenn import layers, random

SHAPE = (512, 1024)


def _jitted(function: Callable[..., Any], *arguments: Any) -> Run:
    import jax

    given = jax.tree.map(jax.numpy.asarray, arguments)
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*given))


def drawn(name: str) -> Rivals:
    """As many numbers as ``SHAPE`` has."""
    key = random.key(0)

    def theirs() -> Run:
        import jax

        draw = getattr(jax.random, name)
        return _jitted(lambda key: draw(jax.random.wrap_key_data(key), shape=SHAPE), key)

    return {
        "purenn": lambda: lambda: getattr(random, name)(key, shape=SHAPE),
        "JAX jit": theirs,
    }


def layer(make: Callable[[Any], Any], shape: tuple[int, ...]) -> Rivals:
    """Forward and backward of one layer."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    model = make(layers)
    params, state, _ = model.init(random.key(0), shape[1:])
    key = random.key(1) if model.stochastic else None
    dy = np.ones_like(model.vjp(params, state, x, key)[0])

    def ours() -> Any:
        _, pullback, _ = model.vjp(params, state, x, key)
        return pullback(dy)

    def theirs() -> Run:
        import jax

        from benchmarks import jax_layers

        forward = make(jax_layers)

        def both(params: Any, x: Any, dy: Any, key: Any) -> Any:
            y, pullback = jax.vjp(lambda p, x: forward(p, state, x, key), params, x)
            return y, pullback(dy)

        return _jitted(both, params, x, dy, random.key(1))

    return {"purenn": lambda: ours, "JAX jit": theirs}


CASES = {
    **{f"{name}, {SHAPE}": partial(drawn, name) for name in ("uniform", "normal", "bits")},
    f"dropout, {SHAPE}": partial(layer, lambda library: library.dropout(0.5), SHAPE),
    "layer_norm, (512, 1024)": partial(layer, lambda library: library.layer_norm(), SHAPE),
    "attention, (16, 64, 128), 4 heads": partial(
        layer, lambda library: library.multi_head_attention(4), (16, 64, 128)
    ),
    "lstm, (32, 50, 64) to 64": partial(layer, lambda library: library.lstm(64), (32, 50, 64)),
    "gru, (32, 50, 64) to 64": partial(layer, lambda library: library.gru(64), (32, 50, 64)),
}
