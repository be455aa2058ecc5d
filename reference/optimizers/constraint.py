"""Max-norm: after a step the incoming weights of each unit go back into a ball (Srivastava)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def keep_max_norm(max_norm: float) -> optax.GradientTransformation:
    def update(updates: Any, state: Any, params: Any) -> Any:
        def corrected(p: jax.Array, u: jax.Array) -> jax.Array:
            stepped = p + u
            norm = jnp.sqrt(jnp.sum(stepped**2, axis=tuple(range(p.ndim - 1))))
            return jnp.where(norm > max_norm, stepped * (max_norm / norm) - p, u)

        return jax.tree.map(corrected, params, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
