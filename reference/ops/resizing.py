"""Resizing in JAX."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


def upsample_nearest(
    x: Float[Array, "batch *spatial features"], *, scale: int | Sequence[int]
) -> Float[Array, "batch *upsampled features"]:
    factors = [scale] * (x.ndim - 2) if isinstance(scale, int) else scale
    for axis, factor in enumerate(factors, 1):
        x = jnp.repeat(x, factor, axis)
    return x


upsample_nearest_cases = [
    {"batch": 1, "spatial": (2,), "features": 1, "scale": 2},
    {"batch": 2, "spatial": (2, 1), "features": 2, "scale": (2, 3)},
    {"batch": 1, "spatial": (1, 3), "features": 2, "scale": (3, 1)},
    {"batch": 1, "spatial": (2, 1, 2), "features": 1, "scale": 2},
    {"batch": 0, "spatial": (2, 2), "features": 1, "scale": 2},
]
