"""The activations of ``purenn.ops.activations.softmax`` in JAX."""

import jax
from jaxtyping import Array, Float


def softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    return jax.nn.softmax(x, axis)


def log_softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    return jax.nn.log_softmax(x, axis)
