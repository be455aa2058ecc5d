"""Losses of vectors in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

cosine_similarity_cases = [
    {"epsilon": epsilon, "axis": axis} for epsilon in (0.0, 0.25) for axis in (-1, 0)
]


def cosine_similarity(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: int = -1,
) -> Float[Array, "..."]:
    return jnp.sum(_unit(predictions, epsilon, axis) * _unit(targets, epsilon, axis), axis=axis)


cosine_distance_cases = cosine_similarity_cases


def cosine_distance(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: int = -1,
) -> Float[Array, "..."]:
    return 1 - cosine_similarity(predictions, targets, epsilon=epsilon, axis=axis)


def _unit(x: Float[Array, "..."], epsilon: float, axis: int) -> Float[Array, "..."]:
    """0 of zeros: the square root stays off 0, where its derivative is infinite."""
    square = jnp.maximum(jnp.sum(jnp.square(x), axis=axis, keepdims=True), epsilon)
    some = square > 0
    return jnp.where(some, x, 0) / jnp.sqrt(jnp.where(some, square, 1))


triplet_margin_loss_cases = [
    {"features": 2},
    {"features": 1, "norm_degree": 1},
    {"features": 3, "norm_degree": 3, "margin": 0.5},
    {"features": 2, "norm_degree": 2.5, "eps": 0.25},
    {"features": 2, "axis": 0, "eps": 0.25},
]


def triplet_margin_loss(
    anchors: Float[Array, "*batch features"],
    positives: Float[Array, "*batch features"],
    negatives: Float[Array, "*batch features"],
    *,
    axis: int = -1,
    norm_degree: int | float = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
) -> Float[Array, "..."]:
    """As in optax, with the absolute value that makes odd degrees norms."""
    sizes = (jnp.maximum(anchors - x, x - anchors) for x in (positives, negatives))
    near, far = (
        jnp.power(jnp.sum(jnp.power(size, norm_degree), axis) + eps, 1 / norm_degree)
        for size in sizes
    )
    return jnp.maximum(near - far + margin, 0)


ntxent_cases = [
    {"batch": 4, "features": 2},
    {"batch": 3, "features": 3, "temperature": 0.5},
    {"batch": 6, "features": 2, "temperature": 0.5},
    {"batch": 2, "features": 1},
    {"batch": 0, "features": 2},
]


def ntxent(
    embeddings: Float[Array, "batch features"],
    labels: Int[Array, "batch"],
    *,
    temperature: float = 0.07,
) -> Float[Array, ""]:
    units = _unit(embeddings, 0.0, -1)
    x = jnp.einsum("if,jf->ij", units, units) / temperature
    same = labels[:, None] == labels
    pairs = same & ~jnp.eye(len(labels), dtype=bool)
    negatives = jax.nn.logsumexp(jnp.where(same, -jnp.inf, x), axis=1, keepdims=True)
    losses = jnp.logaddexp(negatives, x) - x
    return jnp.sum(jnp.where(pairs, losses, 0)) / jnp.maximum(jnp.sum(pairs), 1)
