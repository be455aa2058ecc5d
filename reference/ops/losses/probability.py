"""The losses of ``purenn.ops.losses.probability`` in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float

categorical_cross_entropy_cases = [{"eps": 1e-7}, {"eps": 0.25}]


def categorical_cross_entropy(
    probabilities: Float[Array, "*batch classes"],
    labels: Float[Array, "*batch classes"],
    *,
    eps: float = 1e-7,
) -> Float[Array, "*batch"]:
    return -jnp.sum(labels * jnp.log(_clipped(probabilities, eps)), axis=-1)


binary_cross_entropy_cases = [{"eps": 1e-7}, {"eps": 0.25}]


def binary_cross_entropy(
    probabilities: Float[Array, "*shape"], labels: Float[Array, "*shape"], *, eps: float = 1e-7
) -> Float[Array, "*shape"]:
    p = _clipped(probabilities, eps)
    return -labels * jnp.log(p) - (1 - labels) * jnp.log(1 - p)


def _clipped(p: Array, eps: float) -> Array:
    """1 − eps is of the trace: exact where that is."""
    return jnp.clip(p, eps, jnp.ones((), p.dtype) - eps)
