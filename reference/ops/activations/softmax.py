"""The activations of ``purenn.ops.activations.softmax`` in JAX."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Axis: TypeAlias = int | tuple[int, ...] | None

# Over nothing there is no distribution: along another axis than the last the batch is not empty.
softmax_cases = log_softmax_cases = sparsemax_cases = [
    {"axis": -1},
    {"axis": -1},
    {"batch": (3,), "axis": 0},
    {"batch": (2, 2), "axis": None},
]


def softmax(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> Float[Array, "*batch features"]:
    return jax.nn.softmax(x, axis)


def log_softmax(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> Float[Array, "*batch features"]:
    return jax.nn.log_softmax(x, axis)


def logsumexp(
    x: Float[Array, "*shape"], *, axis: Axis = None, keepdims: bool = False
) -> Float[Array, "..."]:
    return jnp.asarray(jax.nn.logsumexp(x, axis, keepdims=keepdims))


def sparsemax(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> Float[Array, "*batch features"]:
    if axis is None:
        return sparsemax(x.reshape(-1), axis=0).reshape(x.shape)
    if isinstance(axis, tuple):
        last = tuple(range(-len(axis), 0))
        moved = jnp.moveaxis(x, axis, last)
        rows = moved.reshape(*moved.shape[: -len(axis)], -1)
        return jnp.moveaxis(sparsemax(rows).reshape(moved.shape), last, axis)
    falling = jnp.flip(jnp.sort(x, axis), axis)
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    count = jnp.arange(1, x.shape[axis] + 1, dtype=x.dtype).reshape(shape)
    inside = 1 + count * falling > jnp.cumsum(falling, axis)
    k = jnp.sum(inside, axis, keepdims=True)
    tau = (jnp.sum(jnp.where(inside, falling, 0), axis, keepdims=True) - 1) / k
    return jnp.maximum(x - tau, 0)


def standardize(
    x: Float[Array, "*batch features"], *, axis: Axis = -1, epsilon: float = 1e-5
) -> Float[Array, "*batch features"]:
    """As ``jax.nn.standardize``, with the variance by its definition."""
    centered = x - jnp.mean(x, axis, keepdims=True)
    variance = jnp.mean(jnp.square(centered), axis, keepdims=True)
    return centered * jax.lax.rsqrt(variance + epsilon)
