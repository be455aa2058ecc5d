"""Activation functions in JAX: ``jax.nn``'s own, whose derivatives autodiff finds.

Constants are built from integers inside the traced function, so that an evaluation of the trace
in higher precision has them in that precision too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.relu(x)


def leaky_relu(
    x: Float[Array, "*shape"], *, negative_slope: float = 0.01
) -> Float[Array, "*shape"]:
    return jax.nn.leaky_relu(x, negative_slope)


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.sigmoid(x)


def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.tanh(x)


def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.softplus(x)


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.silu(x)


def gelu(x: Float[Array, "*shape"], *, approximate: bool = True) -> Float[Array, "*shape"]:
    """As ``jax.nn.gelu``, whose constants are rounded before the trace."""
    one = jnp.ones((), x.dtype)
    if approximate:
        root_2_over_pi = jnp.sqrt(1 / (2 * jnp.arctan(one)))
        cubic = 44715 * one / 1000000
        return x * ((1 + jnp.tanh(root_2_over_pi * (x + cubic * x**3))) / 2)
    return x * jax.scipy.special.erfc(-x / jnp.sqrt(2 * one)) / 2


def softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    return jax.nn.softmax(x, axis)


def log_softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    return jax.nn.log_softmax(x, axis)
