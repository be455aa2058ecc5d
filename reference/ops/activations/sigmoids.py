"""The activations of ``purenn.ops.activations.sigmoids`` in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.sigmoid(x)


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.tanh(x)


def soft_sign(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.soft_sign(x)


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.softplus(x)


def log_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.log_sigmoid(x)


def squareplus(x: Float[Array, "*shape"], *, b: float = 4.0) -> Float[Array, "*shape"]:
    return jax.nn.squareplus(x, b)
