"""Normalization by neighbouring channels in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float

local_response_norm_cases = [
    {},
    {"size": 3, "alpha": 0.5},
    {"size": 2, "alpha": 2.0, "beta": 0.5},
    {"size": 4, "alpha": 0.25, "beta": 1.0, "k": 2.0, "divide_by_size": False},
    {"size": 1, "alpha": 1.0, "beta": 0.5, "k": 0.5},
    {"size": 9, "alpha": 3.0, "beta": 2.0},
]


def local_response_norm(
    x: Float[Array, "*batch channels"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    divide_by_size: bool = True,
) -> Float[Array, "*batch channels"]:
    channel = jnp.arange(x.shape[-1])
    offset = channel[:, None] - channel
    near = ((size - 1) // 2 >= -offset) & (size // 2 >= offset)
    total = jnp.sum(jnp.where(near, jnp.square(x)[..., None], 0), axis=-2)
    return x / (k + alpha * total / (size if divide_by_size else 1)) ** beta
