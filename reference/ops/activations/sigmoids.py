"""The activations of ``purenn.ops.activations.sigmoids`` in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.sigmoid(x)


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.tanh(x)


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.softplus(x)
