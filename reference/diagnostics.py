"""The statistics of trees in JAX, each from its definition."""

from typing import Any

import jax
import jax.numpy as jnp


def statistics(x: jax.Array) -> dict[str, jax.Array]:
    x = jnp.ravel(x).astype(float)
    return {
        "norm": jnp.linalg.norm(x),
        "rms": jnp.sqrt(jnp.mean(x**2)),
        "mean": jnp.mean(x),
        "std": jnp.std(x),
        "min": jnp.min(x),
        "max": jnp.max(x),
        "zeros": jnp.mean(x == 0, dtype=x.dtype),
        "nonfinite": jnp.sum(~jnp.isfinite(x)),
    }


def update_ratios(updates: Any, params: Any) -> Any:
    """For parameters of which none is 0 in all entries."""
    return jax.tree.map(
        lambda u, p: jnp.sqrt(jnp.sum(jnp.square(u)) / jnp.sum(jnp.square(p))), updates, params
    )


def layer_rms(grads: Any) -> dict[tuple[Any, ...], jax.Array]:
    """By layer, in the order of sorted names."""
    layers: dict[tuple[Any, ...], jax.Array] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        layer = tuple(step.key for step in path[:-1])
        layers[layer] = jnp.append(layers.get(layer, jnp.zeros(0)), leaf)
    return {layer: jnp.sqrt(jnp.mean(jnp.square(every))) for layer, every in layers.items()}


def saturation(activations: jax.Array, low: float, high: float) -> jax.Array:
    """Of the activations (..., units) of several examples."""
    rows = activations.reshape(-1, activations.shape[-1])
    return jax.vmap(lambda y: jnp.mean(~((low < y) & (y < high)), dtype=y.dtype), 1)(rows)


def dead_units(values: jax.Array) -> jax.Array:
    """Of values (..., units)."""
    return jnp.max(jnp.abs(values), axis=range(values.ndim - 1), initial=0) == 0
