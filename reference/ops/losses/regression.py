"""Losses of numbers in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_error(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return jnp.square(predictions - targets)


def l2_loss(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return jnp.square(predictions - targets) / 2


def absolute_error(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """As a maximum, the derivative of which at a tie is halfway between both sides."""
    error = predictions - targets
    return jnp.maximum(error, -error)


huber_loss_cases = [{"delta": 1.0}, {"delta": 0.3}, {"delta": 20.0}]


def huber_loss(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"], *, delta: float = 1.0
) -> Float[Array, "*shape"]:
    size = jnp.abs(predictions - targets)
    quadratic = jnp.minimum(size, delta)
    return jnp.square(quadratic) / 2 + delta * (size - quadratic)


def log_cosh(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    error = predictions - targets
    return jnp.logaddexp(error, -error) - jnp.log(2 * jnp.ones((), error.dtype))
