"""NAdam with a schedule of its momentum, as in PyTorch and Keras, and as published."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ScaleByNadamState(NamedTuple):
    """t, m, v and Πμ."""

    count: jax.Array  # type: ignore[assignment]
    mu: Any
    nu: Any
    mu_product: jax.Array


def scale_by_nadam(
    b1: float,
    b2: float,
    eps: float,
    eps_root: float,
    momentum_decay: float,
    *,
    as_published: bool,
) -> optax.GradientTransformation:
    def momentum(t: jax.Array) -> jax.Array:
        return b1 * (1 - 0.96 ** (t * momentum_decay) / 2)

    def init(params: Any) -> ScaleByNadamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return ScaleByNadamState(jnp.zeros((), jnp.int32), zeros, zeros, jnp.ones((), jnp.float64))

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        t = state.count + 1
        now, ahead = momentum(t), momentum(t + 1)
        product = state.mu_product * now
        beta = now if as_published else jnp.asarray(b1)

        def mean(g: jax.Array, m: jax.Array) -> jax.Array:
            return beta.astype(g.dtype) * m + (1 - beta).astype(g.dtype) * g

        m = jax.tree.map(mean, grads, state.mu)
        v = jax.tree.map(lambda g, v: b2 * v + (1 - b2) * g**2, grads, state.nu)

        def step(g: jax.Array, m: jax.Array, v: jax.Array) -> Any:
            m_hat = (ahead / (1 - product * ahead)).astype(g.dtype) * m
            m_hat += ((1 - now) / (1 - product)).astype(g.dtype) * g
            v_hat = v / (1 - b2**t).astype(g.dtype)
            if as_published:
                v_hat *= b2
            return m_hat / (jnp.sqrt(v_hat + eps_root) + eps)

        return jax.tree.map(step, grads, m, v), ScaleByNadamState(t, m, v, product)

    return optax.GradientTransformation(init, update)
