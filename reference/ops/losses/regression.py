"""Losses of numbers in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_error(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return jnp.square(predictions - targets)
