"""The activations of ``purenn.ops.activations.gated`` in JAX."""

import jax
from jaxtyping import Array, Float


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.silu(x)
