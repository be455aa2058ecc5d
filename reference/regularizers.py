"""Penalties on the size of parameters in JAX: autodiff derives their gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Where = Callable[[tuple[str, ...]], bool]


def l1(scale: float, *, where: Where) -> Callable[[Any], jax.Array]:
    return elastic_net(scale, 0.0, where=where)


def l2(scale: float, *, where: Where) -> Callable[[Any], jax.Array]:
    return elastic_net(0.0, scale, where=where)


def half_l2(scale: float, *, where: Where) -> Callable[[Any], jax.Array]:
    return elastic_net(0.0, scale / 2, where=where)


def elastic_net(l1: float, l2: float, *, where: Where) -> Callable[[Any], jax.Array]:
    def penalty(params: Any) -> jax.Array:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        chosen = [leaf for path, leaf in leaves if where(tuple(step.key for step in path))]
        # Of a maximum the derivative at a tie is halfway between both sides.
        sizes = [jnp.maximum(leaf, -leaf) for leaf in chosen]
        parts = [jnp.sum(l1 * size + l2 * jnp.square(size)) for size in sizes]
        return jnp.sum(jnp.array(parts))

    return penalty
