"""The activations of ``purenn.ops.activations.piecewise`` in JAX."""

import jax
from jaxtyping import Array, Float


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.relu(x)


def leaky_relu(
    x: Float[Array, "*shape"], *, negative_slope: float = 0.01
) -> Float[Array, "*shape"]:
    return jax.nn.leaky_relu(x, negative_slope)
