"""The activations of ``purenn.ops.activations.piecewise`` in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def identity(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return x


def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.relu(x)


def relu6(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.relu6(x)


def leaky_relu(
    x: Float[Array, "*shape"], *, negative_slope: float = 0.01
) -> Float[Array, "*shape"]:
    return jax.nn.leaky_relu(x, negative_slope)


prelu_cases = [
    {"shape": (3,), "slope": ()},
    {"shape": (), "slope": ()},
    {"shape": (2, 3), "slope": (3,)},
    {"shape": (2, 3), "slope": (2, 1)},
    {"shape": (2, 3), "slope": (2, 3)},
    {"shape": (2, 2, 3), "slope": (1, 3)},
    {"shape": (0, 3), "slope": (3,)},
]


def prelu(
    x: Float[Array, "*shape"], negative_slope: Float[Array, "*slope"]
) -> Float[Array, "*shape"]:
    return jnp.where(x >= 0, x, negative_slope * x)


def bipolar_relu(x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
    even = jnp.arange(x.shape[-1]) % 2 == 0
    return jnp.where(even, jax.nn.relu(x), -jax.nn.relu(-x))


maxout_cases = [
    {"batch": (), "features": 2, "num_units": 1},
    {"batch": (3,), "features": 4, "num_units": 2},
    {"batch": (2,), "features": 6, "num_units": 2},
    {"batch": (2,), "features": 3, "num_units": 3},
    {"batch": (6,), "features": 2, "num_units": 2, "axis": 0},
    {"batch": (2, 4), "features": 2, "num_units": 2, "axis": -2},
    {"batch": (0,), "features": 4, "num_units": 2},
]


def maxout(
    x: Float[Array, "*batch features"], *, num_units: int, axis: int = -1
) -> Float[Array, "..."]:
    last = jnp.moveaxis(x, axis, -1)
    pieces = last.reshape(*last.shape[:-1], num_units, last.shape[-1] // num_units)
    return jnp.moveaxis(jnp.max(pieces, axis=-1), -1, axis)


def heaviside(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.heaviside(x, jnp.ones((), x.dtype))


def hard_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.hard_tanh(x)


def hard_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.hard_sigmoid(x)


def hard_silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.hard_silu(x)


def sparse_plus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.sparse_plus(x)


def sparse_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.sparse_sigmoid(x)
