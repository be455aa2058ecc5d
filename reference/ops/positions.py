"""The positional encodings of ``purenn.ops.positions`` in JAX."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from purenn.typing import Annotated, OneOf


def sinusoidal_encoding(
    length: int, features: int, *, max_period: float = 10000.0
) -> Float[Array, "length features"]:
    t, j = jnp.arange(length)[:, None], jnp.arange(features)
    angle = t / max_period ** ((j - j % 2) / features)
    return jnp.where(j % 2 == 0, jnp.sin(angle), jnp.cos(angle))


def rotary_embedding(
    x: Float[Array, "*batch length features"],
    *,
    positions: Int[Array, "..."] | None = None,
    base: float = 10000.0,
    interleaved: Annotated[bool, OneOf(False, True)] = False,
) -> Float[Array, "*batch length features"]:
    """Pair by pair a product of complex numbers: (a + ib)·e^(it·ω), written out."""
    features = x.shape[-1]
    t = jnp.arange(x.shape[-2]) if positions is None else jnp.asarray(positions)
    k = jnp.arange(0, features, 2).astype(x.dtype)
    omega = jnp.exp(-k / max(features, 1) * jnp.log(jnp.full((), base, x.dtype)))
    angle = t[..., None].astype(x.dtype) * omega
    pairs = (features // 2, 2) if interleaved else (2, features // 2)
    axis = -1 if interleaved else -2
    z = x.reshape(*x.shape[:-1], *pairs)
    a, b = jnp.take(z, 0, axis), jnp.take(z, 1, axis)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    y = jnp.stack([a * cos - b * sin, a * sin + b * cos], axis)
    return y.reshape(x.shape)


rotary_embedding_cases = [
    {"batch": (), "length": 3, "features": 4, "interleaved": False},
    {"batch": (2,), "length": 2, "features": 4, "interleaved": True},
    {"batch": (2,), "length": 2, "features": 6, "base": 50.0, "interleaved": False},
    {"batch": (2, 2), "length": 2, "features": 2, "positions": np.array([[5, 9], [-3, 999_999]])},
    {"batch": (2,), "length": 3, "features": 4, "positions": np.array([[10**9], [123_456_789]])},
    {"batch": (0,), "length": 2, "features": 4},
    {"batch": (2,), "length": 0, "features": 4},
    {"batch": (), "length": 2, "features": 0},
]
