"""RAdam with ε before the correction, as in its authors' code and in PyTorch."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def scale_by_radam(
    b1: float, b2: float, eps: float, threshold: float
) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        t = state.count + 1
        m = jax.tree.map(lambda g, m: b1 * m + (1 - b1) * g, grads, state.mu)
        v = jax.tree.map(lambda g, v: b2 * v + (1 - b2) * g**2, grads, state.nu)
        longest = 2 / (1 - b2) - 1
        length = longest - 2 * t * b2**t / (1 - b2**t)
        r = (length - 4) / (longest - 4) * (length - 2) / (longest - 2) * longest / length

        def step(m: jax.Array, v: jax.Array) -> Any:
            m_hat = m / (1 - b1**t).astype(m.dtype)
            rate = jnp.sqrt(r * (1 - b2**t)).astype(m.dtype) / (jnp.sqrt(v) + eps)
            return jnp.where(length >= threshold, rate * m_hat, m_hat)

        return jax.tree.map(step, m, v), optax.ScaleByAdamState(t, m, v)

    return optax.GradientTransformation(init, update)
