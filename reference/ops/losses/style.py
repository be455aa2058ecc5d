"""Losses between feature maps in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float

gram_matrix_cases = [
    {"batch": (), "height": 1, "width": 2, "channels": 2},
    {"batch": (2,), "height": 2, "width": 1, "channels": 3},
    {"batch": (1,), "height": 3, "width": 2, "channels": 1},
    {"batch": (0,), "height": 2, "width": 2, "channels": 2},
]


def gram_matrix(
    x: Float[Array, "*batch height width channels"],
) -> Float[Array, "*batch channels channels"]:
    return jnp.einsum("...hwi,...hwj->...ij", x, x)


style_loss_cases = [{**case, "target_height": 2, "target_width": 2} for case in gram_matrix_cases]


def style_loss(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch target_height target_width channels"],
) -> Float[Array, "*batch"]:
    ours, theirs = (
        gram_matrix(x) / (x.shape[-3] * x.shape[-2] * x.shape[-1]) for x in (predictions, targets)
    )
    return jnp.sum(jnp.square(ours - theirs), axis=(-2, -1)) / 4


content_loss_cases = gram_matrix_cases


def content_loss(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch height width channels"],
) -> Float[Array, "*batch"]:
    return jnp.sum(jnp.square(predictions - targets), axis=(-3, -2, -1)) / 2
