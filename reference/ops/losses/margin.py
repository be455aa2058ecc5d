"""Losses with a margin in JAX, as in optax."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def hinge_loss(
    predictor_outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return jnp.maximum(0, 1 - predictor_outputs * targets)


def perceptron_loss(
    predictor_outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return jnp.maximum(0, -predictor_outputs * targets)


def multiclass_hinge_loss(
    scores: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
    one_hot = jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype)
    return jnp.max(scores + 1 - one_hot, axis=-1) - _at_label(scores, labels)


def multiclass_perceptron_loss(
    scores: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
    return jnp.max(scores, axis=-1) - _at_label(scores, labels)


def _at_label(
    scores: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
    return jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
