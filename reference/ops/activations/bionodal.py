"""The activations of ``purenn.ops.activations.bionodal`` in JAX, as in arXiv:1804.11237.

s is r as a number of the trace, so that 1/s is not rounded before it.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def eru(x: Float[Array, "*shape"], *, r: float) -> Float[Array, "*shape"]:
    s = r * jnp.ones((), x.dtype)
    right = (s**2 * jnp.where(x < 0, 0, x) + 1) ** (1 / s)
    return jnp.where(x < 0, jnp.exp(s * jnp.where(x < 0, x, 0)), right) - 1 / s


def oru(x: Float[Array, "*shape"], *, r: float) -> Float[Array, "*shape"]:
    s = r * jnp.ones((), x.dtype)

    def right(x: Array) -> Array:
        return (s**2 * jnp.maximum(x, 0) + 1) ** (1 / s) - 1

    return right(x) - right(-x)
