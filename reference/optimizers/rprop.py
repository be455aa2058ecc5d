"""iRprop⁻ (Igel & Hüsken, figure 4; PyTorch)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ScaleByRpropState(NamedTuple):
    """Δ, and the last step."""

    step_sizes: Any
    prev_updates: Any


def rprop(
    learning_rate: float,
    eta_minus: float,
    eta_plus: float,
    min_step_size: float,
    max_step_size: float,
) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        sizes = jax.tree.map(lambda p: jnp.full_like(p, learning_rate), params)
        return ScaleByRpropState(sizes, jax.tree.map(jnp.zeros_like, params)), optax.EmptyState()

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        before = state[0].prev_updates

        def adapted(size: Any, g: Any, g_before: Any) -> Any:
            larger = jnp.minimum(size * eta_plus, max_step_size)
            smaller = jnp.maximum(size * eta_minus, min_step_size)
            s = g * g_before
            return jnp.where(s > 0, larger, jnp.where(s < 0, smaller, size))

        sizes = jax.tree.map(adapted, state[0].step_sizes, grads, before)
        moved = jax.tree.map(
            lambda size, g, g_before: jnp.where(g * g_before < 0, 0, size * jnp.sign(g)),
            sizes, grads, before,
        )  # fmt: skip
        updates = jax.tree.map(jnp.negative, moved)
        return updates, (ScaleByRpropState(sizes, moved), state[1])

    return optax.GradientTransformation(init, update)
