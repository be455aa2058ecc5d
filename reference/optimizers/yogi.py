"""Yogi as published, and as in TensorFlow Addons."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def scale_by_yogi(
    b1: float,
    b2: float,
    eps: float,
    initial_accumulator_value: float,
    initial_mu: float,
    *,
    bias_correction: bool,
) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        m = jax.tree.map(lambda p: jnp.full_like(p, initial_mu), params)
        v = jax.tree.map(lambda p: jnp.full_like(p, initial_accumulator_value), params)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), m, v)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        t = state.count + 1
        m = jax.tree.map(lambda g, m: b1 * m + (1 - b1) * g, grads, state.mu)
        v = jax.tree.map(lambda g, v: v - (1 - b2) * jnp.sign(v - g**2) * g**2, grads, state.nu)
        rate = jnp.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else jnp.ones(())

        def step(m: jax.Array, v: jax.Array) -> Any:
            return rate.astype(m.dtype) * m / (jnp.sqrt(v) + eps)

        return jax.tree.map(step, m, v), optax.ScaleByAdamState(t, m, v)

    return optax.GradientTransformation(init, update)
