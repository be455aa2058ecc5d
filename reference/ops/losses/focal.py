"""The loss of ``purenn.ops.losses.focal`` in JAX."""

import jax
from jaxtyping import Array, Float

from reference.ops.losses.cross_entropy import sigmoid_binary_cross_entropy

sigmoid_focal_loss_cases = [
    {"alpha": None, "gamma": 2.0},
    {"alpha": 0.25, "gamma": 2.0},
    {"alpha": None, "gamma": 0.0},
    {"alpha": 0.75, "gamma": 0.5},
    {"alpha": 1.0, "gamma": 1.0},
    {"alpha": None, "gamma": 5.0},
]


def sigmoid_focal_loss(
    logits: Float[Array, "*shape"],
    labels: Float[Array, "*shape"],
    *,
    alpha: float | None = None,
    gamma: float = 2.0,
) -> Float[Array, "*shape"]:
    missing = (1 - labels) * jax.nn.sigmoid(logits) + labels * jax.nn.sigmoid(-logits)
    loss = sigmoid_binary_cross_entropy(logits, labels) * missing**gamma
    return loss if alpha is None else (alpha * labels + (1 - alpha) * (1 - labels)) * loss
