"""The activations of ``purenn.ops.activations.gated`` in JAX."""

import jax
from jaxtyping import Array, Float


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.silu(x)


def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jax.nn.mish(x)


glu_cases = [
    {"batch": (), "features": 2},
    {"batch": (3,), "features": 4},
    {"batch": (2, 2), "features": 2},
    {"batch": (2,), "features": 3, "axis": 0},
    {"batch": (2, 2), "features": 2, "axis": 1},
    {"batch": (0,), "features": 4},
    {"batch": (2,), "features": 0},
]


def glu(x: Float[Array, "*batch features"], *, axis: int = -1) -> Float[Array, "..."]:
    return jax.nn.glu(x, axis)
