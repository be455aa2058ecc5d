"""The constraint on weights in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from purenn.typing import Annotated, OneOf


def max_norm(
    kernel: Float[Array, "*inputs out"],
    *,
    max_value: float = 2.0,
    axis: Annotated[int | tuple[int, ...] | None, OneOf(None, -1)] = None,
) -> Float[Array, "*inputs out"]:
    axes = tuple(range(kernel.ndim - 1)) if axis is None else axis
    square = jnp.sum(jnp.square(kernel), axis=axes, keepdims=True)
    outside = square > max_value**2
    norm = jnp.sqrt(jnp.where(outside, square, 1))
    return jnp.where(outside, kernel * (max_value / norm), kernel)
