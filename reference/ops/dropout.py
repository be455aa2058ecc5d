"""The noise of ``purenn.ops.dropout`` in JAX: what is drawn is a constant of the trace."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from purenn.typing import Annotated, Key, OneOf

KEY = np.array([0, 7], np.uint32)
OTHER = np.array([3, 1 << 31], np.uint32)


def dropout(
    x: Float[Array, "*shape"], *, rate: float, key: Key, broadcast_dims: Sequence[int] = ()
) -> Float[Array, "*shape"]:
    """As ``flax.linen.Dropout``, which draws in float64 where JAX has it enabled."""
    shape = [*x.shape]
    for dim in broadcast_dims:
        shape[dim] = 1
    kept = jnp.broadcast_to(bernoulli(key, 1 - rate, shape), x.shape)
    return jnp.where(kept, x / (1 - rate), 0)


dropout_cases = [
    {"rate": 0.5, "key": KEY},
    {"rate": 0.2, "key": OTHER},
    {"rate": 0.5, "key": KEY, "broadcast_dims": (-1,)},
    {"rate": 0.0, "key": KEY},
]


def spatial_dropout(
    x: Float[Array, "batch *spatial channels"], *, rate: float, key: Key
) -> Float[Array, "batch *spatial channels"]:
    kept = bernoulli(key, 1 - rate, (x.shape[0], x.shape[-1]))
    return jnp.einsum("b...c,bc->b...c", x, kept / (1 - jnp.full((), rate, x.dtype)))


spatial_dropout_cases = [
    {"batch": 2, "spatial": (3,), "channels": 3, "rate": 0.5, "key": KEY},
    {"batch": 3, "spatial": (2, 2), "channels": 2, "rate": 0.25, "key": OTHER},
    {"batch": 2, "spatial": (), "channels": 4, "rate": 0.5, "key": KEY},
    {"batch": 0, "spatial": (2, 1), "channels": 2, "rate": 0.5, "key": KEY},
    {"batch": 2, "spatial": (2,), "channels": 2, "rate": 0.0, "key": KEY},
]


def gaussian_dropout(x: Float[Array, "*shape"], *, rate: float, key: Key) -> Float[Array, "*shape"]:
    with jax.ensure_compile_time_eval():
        above = jnp.nextafter(jnp.float32(-1), jnp.float32(0))
        u = jax.random.uniform(wrapped(key), x.shape, jnp.float32, above, 1)
        n = (np.sqrt(2) * jax.lax.erf_inv(u.astype(jnp.float64))).astype(jnp.float32)
    share = jnp.full((), rate, x.dtype)
    y: jax.Array = x * (1 + jnp.sqrt(share / (1 - share)) * n.astype(x.dtype))
    return y


gaussian_dropout_cases = [
    {"rate": 0.25, "key": KEY},
    {"rate": 0.1, "key": OTHER},
    {"rate": 0.0, "key": KEY},
]


def drop_block(
    x: Float[Array, "batch height width channels"], *, rate: float, block_size: int, key: Key
) -> Float[Array, "batch height width channels"]:
    batch, height, width, channels = x.shape
    inside = batch, height - block_size + 1, width - block_size + 1, channels
    gamma = rate * height * width / (block_size**2 * inside[1] * inside[2])
    edge = (block_size - 1, block_size - 1)
    with jax.ensure_compile_time_eval():
        seeds = bernoulli(key, gamma, inside)
        dropped = jax.lax.reduce_window(
            seeds.astype(int),
            0,
            jax.lax.max,
            (1, block_size, block_size, 1),
            (1, 1, 1, 1),
            ((0, 0), edge, edge, (0, 0)),
        )
        ones = jnp.maximum(1, jnp.sum(1 - dropped)).item()
    return jnp.where(dropped == 1, 0, x * dropped.size / ones)


drop_block_cases = [
    {"batch": b, "height": h, "width": w, "channels": c, "rate": p, "block_size": size, "key": key}
    for b, h, w, c, p, size, key in [
        (1, 3, 3, 2, 0.5, 2, OTHER),
        (2, 4, 3, 1, 0.5, 3, KEY),
        (1, 2, 2, 1, 0.999, 2, KEY),  # nothing is kept
        (0, 3, 2, 2, 0.5, 2, KEY),
        (2, 3, 2, 2, 0.0, 1, KEY),
    ]
]


def max_drop(
    x: Float[Array, "batch *spatial channels"],
    *,
    rate: float,
    key: Key,
    mode: Annotated[str, OneOf("feature", "channel")] = "feature",
) -> Float[Array, "batch *spatial channels"]:
    if not x.size:
        return x
    axis = 1 if mode == "feature" else 2
    rows = jnp.swapaxes(x.reshape(x.shape[0], -1, x.shape[-1]), axis, -1)
    drop = bernoulli(key, rate, rows.shape[:-1])[..., None]
    first = jnp.argmax(rows, axis=-1, keepdims=True) == jnp.arange(rows.shape[-1])
    y = jnp.where(drop & first, 0, rows)
    return jnp.swapaxes(y, axis, -1).reshape(x.shape)


max_drop_cases = [
    {"batch": 2, "spatial": (3,), "channels": 2, "rate": 0.5, "key": KEY, "mode": "feature"},
    {"batch": 2, "spatial": (3,), "channels": 3, "rate": 0.5, "key": KEY, "mode": "channel"},
    {"batch": 2, "spatial": (2, 2), "channels": 3, "rate": 0.8, "key": OTHER, "mode": "feature"},
    {"batch": 1, "spatial": (2, 1), "channels": 4, "rate": 0.8, "key": OTHER, "mode": "channel"},
    {"batch": 2, "spatial": (0,), "channels": 2, "rate": 0.5, "key": KEY, "mode": "feature"},
    {"batch": 2, "spatial": (2,), "channels": 2, "rate": 0.0, "key": KEY, "mode": "feature"},
]


def stochastic_dropout(
    x: Float[Array, "*shape"], *, rate: float, key: Key
) -> Float[Array, "*shape"]:
    with jax.ensure_compile_time_eval():
        first, second = jax.random.split(wrapped(key))
        drawn = rate * jax.random.uniform(first, dtype=jnp.float32).item()
        kept = jax.random.bernoulli(second, jnp.float32(1 - drawn), x.shape)
    return jnp.where(kept, x / (1 - drawn), 0)


stochastic_dropout_cases = [
    {"rate": 0.9, "key": KEY},
    {"rate": 0.5, "key": OTHER},
    {"rate": 0.0, "key": KEY},
]


def bernoulli(key: Key, p: float, shape: Sequence[int]) -> jax.Array:
    """``jax.random.bernoulli`` in float32, now."""
    with jax.ensure_compile_time_eval():
        kept: jax.Array = jax.random.bernoulli(wrapped(key), jnp.float32(p), tuple(shape))
    return kept


def wrapped(key: Key) -> jax.Array:
    """The key as one of JAX's."""
    its: jax.Array = jax.random.wrap_key_data(jnp.asarray(key))
    return its
