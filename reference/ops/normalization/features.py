"""Normalization within an example in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def layer_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " features"],
    bias: Float[Array, " features"],
    *,
    epsilon: float = 1e-6,
) -> Float[Array, "*batch features"]:
    d = x - jnp.mean(x, axis=-1, keepdims=True)
    return d / jnp.sqrt(jnp.mean(d**2, axis=-1, keepdims=True) + epsilon) * scale + bias


def rms_norm(
    x: Float[Array, "*batch features"], scale: Float[Array, " features"], *, epsilon: float = 1e-6
) -> Float[Array, "*batch features"]:
    return x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + epsilon) * scale


group_norm_cases = [
    {"spatial": (2,), "channels": 4, "num_groups": 2},
    {"spatial": (), "channels": 3, "num_groups": 1},
    {"spatial": (3, 1), "channels": 2, "num_groups": 2},
    {"spatial": (2,), "channels": 6, "num_groups": 3},
    {"spatial": (), "channels": 4, "num_groups": 2},
    {"batch": 0, "spatial": (2,), "channels": 2, "num_groups": 1},
]


def group_norm(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    num_groups: int,
    epsilon: float = 1e-6,
) -> Float[Array, "batch *spatial channels"]:
    grouped = x.reshape(*x.shape[:-1], num_groups, x.shape[-1] // num_groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    d = grouped - jnp.mean(grouped, axis=axes, keepdims=True)
    z = d / jnp.sqrt(jnp.mean(d**2, axis=axes, keepdims=True) + epsilon)
    return z.reshape(x.shape) * scale + bias


def instance_norm(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float = 1e-6,
) -> Float[Array, "batch *spatial channels"]:
    space = tuple(range(1, x.ndim - 1))
    d = x - jnp.mean(x, axis=space, keepdims=True)
    return d / jnp.sqrt(jnp.mean(d**2, axis=space, keepdims=True) + epsilon) * scale + bias
