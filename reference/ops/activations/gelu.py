"""The activations of ``purenn.ops.activations.gelu`` in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gelu(x: Float[Array, "*shape"], *, approximate: bool = True) -> Float[Array, "*shape"]:
    """As ``jax.nn.gelu``, whose constants are rounded before the trace."""
    one = jnp.ones((), x.dtype)
    if approximate:
        root_2_over_pi = jnp.sqrt(1 / (2 * jnp.arctan(one)))
        cubic = 44715 * one / 1000000
        return x * ((1 + jnp.tanh(root_2_over_pi * (x + cubic * x**3))) / 2)
    return x * jax.scipy.special.erfc(-x / jnp.sqrt(2 * one)) / 2
