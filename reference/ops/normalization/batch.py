"""Normalization over the batch in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from purenn.typing import Annotated, Interval


def batch_norm(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "batch *spatial channels"]:
    axes = tuple(range(x.ndim - 1))
    d = x - jnp.mean(x, axis=axes)
    return d / jnp.sqrt(jnp.mean(d**2, axis=axes) + epsilon) * scale + bias


def batch_norm_inference(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    mean: Float[Array, " channels"],
    var: Annotated[Float[Array, " channels"], Interval(ge=0)],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "batch *spatial channels"]:
    return (x - mean) / jnp.sqrt(var + epsilon) * scale + bias
