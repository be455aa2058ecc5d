"""The losses of ``purenn.ops.losses.cross_entropy`` in JAX."""

import math
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Axis: TypeAlias = int | tuple[int, ...] | None

softmax_cross_entropy_cases = [
    {"axis": -1},
    {"axis": -1},
    {"batch": (3,), "axis": 0},
    {"batch": (2, 2), "axis": None},
]


def softmax_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Float[Array, "*batch classes"],
    *,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    return -jnp.sum(labels * jax.nn.log_softmax(logits, axis), axis)


def safe_softmax_cross_entropy(
    logits: Float[Array, "*batch classes"], labels: Float[Array, "*batch classes"]
) -> Float[Array, "*batch"]:
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.where(labels != 0, labels * log_p, 0), axis=-1)


softmax_cross_entropy_with_integer_labels_cases = [
    {"batch": (3,), "classes": 4, "...": (3,), "axis": -1},
    {"batch": (), "classes": 1, "...": (), "axis": -1},
    {"batch": (2, 2), "classes": 3, "...": (2, 2), "axis": -1},
    {"batch": (0,), "classes": 2, "...": (0,), "axis": -1},
    {"batch": (4,), "classes": 3, "...": (3,), "axis": 0},
    {"batch": (2, 3), "classes": 2, "...": (3,), "axis": (2, 0)},
    {"batch": (2,), "classes": 2, "...": (), "axis": None},
]


def softmax_cross_entropy_with_integer_labels(
    logits: Float[Array, "*batch classes"], labels: Int[Array, "..."], *, axis: Axis = -1
) -> Float[Array, "..."]:
    axes = tuple(range(logits.ndim)) if axis is None else axis if isinstance(axis, tuple) else None
    if axes is not None:
        logits = jnp.moveaxis(logits, axes, range(-len(axes), 0))
        kept = logits.shape[: -len(axes)]
        logits = logits.reshape(*kept, math.prod(logits.shape[-len(axes) :]))
    elif isinstance(axis, int):
        logits = jnp.moveaxis(logits, axis, -1)
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]


poly_loss_cross_entropy_cases = [
    {"epsilon": 2.0, "axis": -1},
    {"epsilon": -1.0, "axis": -1},
    {"batch": (3,), "epsilon": -1.0, "axis": 0},
    {"batch": (2, 2), "epsilon": 0.0, "axis": None},
    {"epsilon": -2.5, "axis": -1},
    {"epsilon": 2.0, "axis": -1},
]


def poly_loss_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Float[Array, "*batch classes"],
    *,
    epsilon: float = 2.0,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    missing = jnp.sum(labels * (1 - jax.nn.softmax(logits, axis)), axis)
    return softmax_cross_entropy(logits, labels, axis=axis) + epsilon * missing


def sigmoid_binary_cross_entropy(
    logits: Float[Array, "*shape"], labels: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return -labels * jax.nn.log_sigmoid(logits) - (1 - labels) * jax.nn.log_sigmoid(-logits)


def smooth_labels(
    labels: Float[Array, "*batch classes"], alpha: float, *, axis: Axis = -1
) -> Float[Array, "*batch classes"]:
    return (1 - alpha) * labels + alpha / max(jnp.size(labels, axis), 1)
