"""The losses of ``purenn.ops.losses.divergence`` in JAX."""

from typing import TypeAlias

import jax.numpy as jnp
from jaxtyping import Array, Float

Axis: TypeAlias = int | tuple[int, ...] | None


def kl_divergence(
    log_predictions: Float[Array, "*batch dim"],
    targets: Float[Array, "*batch dim"],
    *,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    log_targets = jnp.where(targets == 0, 0, jnp.log(targets))
    return jnp.sum(targets * (log_targets - log_predictions), axis)


def kl_divergence_with_log_targets(
    log_predictions: Float[Array, "*batch dim"],
    log_targets: Float[Array, "*batch dim"],
    *,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    return jnp.sum(jnp.exp(log_targets) * (log_targets - log_predictions), axis)


def generalized_kl_divergence(
    log_predictions: Float[Array, "*batch dim"],
    targets: Float[Array, "*batch dim"],
    *,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    apart = jnp.sum(jnp.exp(log_predictions) - targets, axis)
    return kl_divergence(log_predictions, targets, axis=axis) + apart


def convex_kl_divergence(
    log_predictions: Float[Array, "*batch dim"],
    targets: Float[Array, "*batch dim"],
    *,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    return generalized_kl_divergence(log_predictions, targets, axis=axis)
