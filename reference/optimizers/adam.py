"""Adam and AdamW with ε added before the correction, as in Keras (ε̂ of Adam's paper)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def _scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    init = optax.scale_by_adam().init

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        t = state.count + 1
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.nu, grads)
        factor = jnp.sqrt(1 - b2**t) / (1 - b1**t)
        updates = jax.tree.map(lambda m, v: factor * m / (jnp.sqrt(v) + eps), m, v)
        return updates, optax.ScaleByAdamState(t, m, v)

    return optax.GradientTransformation(init, update)


def adam(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    return optax.chain(_scale_by_adam(b1, b2, eps), optax.scale_by_learning_rate(learning_rate))


def adamw(
    learning_rate: float, b1: float, b2: float, eps: float, weight_decay: float
) -> optax.GradientTransformation:
    return optax.chain(
        _scale_by_adam(b1, b2, eps),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )
