"""AMSGrad with the maximum of what is not corrected, as in PyTorch and Keras."""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def scale_by_amsgrad(
    b1: float, b2: float, eps: float, eps_root: float = 0.0, *, eps_before_correction: bool
) -> optax.GradientTransformation:
    def init(params: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return optax.ScaleByAmsgradState(jnp.zeros((), jnp.int32), zeros, zeros, zeros)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        t = state.count + 1
        m = jax.tree.map(lambda g, m: b1 * m + (1 - b1) * g, grads, state.mu)
        v = jax.tree.map(lambda g, v: b2 * v + (1 - b2) * g**2, grads, state.nu)
        largest = jax.tree.map(jnp.maximum, state.nu_max, v)

        def step(m: jax.Array, v: jax.Array) -> Any:
            correction = (1 - b2**t).astype(v.dtype)
            if eps_before_correction:
                root = (jnp.sqrt(v + eps_root * correction) + eps) / jnp.sqrt(correction)
            else:
                root = jnp.sqrt(v / correction + eps_root) + eps
            return m / (1 - b1**t).astype(m.dtype) / root

        return jax.tree.map(step, m, largest), optax.ScaleByAmsgradState(t, m, v, largest)

    return optax.GradientTransformation(init, update)
