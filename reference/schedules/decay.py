"""Time-based decay in JAX."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def inverse_time_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
) -> Callable[[jax.Array], jax.Array]:
    def schedule(step: jax.Array) -> jax.Array:
        periods = (step - transition_begin) / transition_steps
        periods = jnp.floor(periods) if staircase else periods
        decayed = init_value / (1 + decay_rate * periods)
        return jnp.where(step < transition_begin, init_value, decayed)

    return schedule
