"""Linear maps in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def dense(
    x: Float[Array, "*batch in"], kernel: Float[Array, "in out"], bias: Float[Array, " out"]
) -> Float[Array, "*batch out"]:
    return jnp.einsum("...i,ij->...j", x, kernel) + bias
