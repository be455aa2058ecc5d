"""Optimizers in JAX, as their equations read, over the same trees."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class GradientTransformation(NamedTuple):
    """``init(params) -> state`` and ``update(grads, state, params=None) -> (updates, state)``."""

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


class EmptyState(NamedTuple):
    """Nothing."""


class TraceState(NamedTuple):
    """v of momentum."""

    trace: Any


class ScaleByAdamState(NamedTuple):
    """t, m and v of Adam."""

    count: jax.Array  # type: ignore[assignment]
    mu: Any
    nu: Any


def apply_updates(params: Any, updates: Any) -> Any:
    return jax.tree.map(jnp.add, params, updates)


def sgd(
    learning_rate: float, momentum: float | None = None, nesterov: bool = False
) -> GradientTransformation:
    def init(params: Any) -> Any:
        if momentum is None:
            return EmptyState()
        return TraceState(jax.tree.map(jnp.zeros_like, params))

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if momentum is None:
            return jax.tree.map(lambda g: -learning_rate * g, grads), state
        trace = jax.tree.map(lambda g, v: momentum * v + g, grads, state.trace)
        ahead = jax.tree.map(lambda g, v: g + momentum * v if nesterov else v, grads, trace)
        return jax.tree.map(lambda v: -learning_rate * v, ahead), TraceState(trace)

    return GradientTransformation(init, update)


def adam(
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> GradientTransformation:
    def init(params: Any) -> ScaleByAdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(
        grads: Any, state: ScaleByAdamState, params: Any = None
    ) -> tuple[Any, ScaleByAdamState]:
        count = state.count + 1
        mu = jax.tree.map(lambda g, m: b1 * m + (1 - b1) * g, grads, state.mu)
        nu = jax.tree.map(lambda g, v: b2 * v + (1 - b2) * g**2, grads, state.nu)

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            m_hat = m / (1 - b1**count).astype(m.dtype)
            v_hat = v / (1 - b2**count).astype(v.dtype)
            return -learning_rate * m_hat / (jnp.sqrt(v_hat + eps_root) + eps)

        return jax.tree.map(step, mu, nu), ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)
