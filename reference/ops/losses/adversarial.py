"""Adversarial losses in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def least_squares_discriminator_loss(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return (jnp.square(real_scores - 1) + jnp.square(fake_scores)) / 2


def least_squares_generator_loss(fake_scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.square(fake_scores - 1) / 2


def non_saturating_discriminator_loss(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return -jax.nn.log_sigmoid(real_scores) - jax.nn.log_sigmoid(-fake_scores)


def non_saturating_generator_loss(fake_scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return -jax.nn.log_sigmoid(fake_scores)


def wasserstein_critic_loss(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return fake_scores - real_scores


def wasserstein_generator_loss(fake_scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return -fake_scores
