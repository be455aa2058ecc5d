"""Pooling in JAX."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from purenn.typing import Annotated, OneOf


def max_pool(
    x: Float[Array, "batch *spatial features"],
    *,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Float[Array, "batch *windows features"]:
    y: Array = lax.reduce_window(x, -jnp.inf, lax.max, *_windows(x, window_shape, strides, padding))
    return y


def avg_pool(
    x: Float[Array, "batch *spatial features"],
    *,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    count_include_pad: Annotated[bool, OneOf(True, False)] = True,
) -> Float[Array, "batch *windows features"]:
    window, *rest = _windows(x, window_shape, strides, padding)
    total: Array = lax.reduce_window(x, 0.0, lax.add, window, *rest)
    cells: Array = lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, window, *rest)
    return total / (jnp.full_like(cells, math.prod(window)) if count_include_pad else cells)


def global_max_pool(x: Float[Array, "batch *spatial features"]) -> Float[Array, "batch features"]:
    return max_pool(x, window_shape=x.shape[1:-1]).reshape(x.shape[0], x.shape[-1])


def global_avg_pool(x: Float[Array, "batch *spatial features"]) -> Float[Array, "batch features"]:
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))


def _windows(x: Any, window_shape: Any, strides: Any, padding: Any) -> tuple[Any, Any, Any]:
    def each(sizes: Any) -> tuple[int, ...]:
        return (1, *([sizes] * (x.ndim - 2) if isinstance(sizes, int) else sizes), 1)

    around = padding if isinstance(padding, str) else [(0, 0), *padding, (0, 0)]
    return each(window_shape), each(strides or 1), around


def _case(batch: int, spatial: tuple[int, ...], features: int, **options: Any) -> dict[str, Any]:
    return {"batch": batch, "spatial": spatial, "features": features, **options}


max_pool_cases = [
    _case(1, (3,), 1, window_shape=2),
    _case(2, (4,), 2, window_shape=(3,), strides=2, padding="SAME"),
    _case(2, (4, 2), 2, window_shape=2, strides=2),
    _case(1, (3, 4), 2, window_shape=(2, 3), padding="SAME"),
    _case(1, (5, 3), 2, window_shape=2, strides=(3, 1), padding=((1, 1), (0, 1))),
    _case(2, (2, 3, 2), 1, window_shape=2, strides=(1, 2, 1)),
    _case(0, (3, 3), 2, window_shape=2),
]
avg_pool_cases = [
    *({**case, "count_include_pad": True} for case in max_pool_cases),
    *({**case, "count_include_pad": False} for case in max_pool_cases if "padding" in case),
]
global_max_pool_cases = global_avg_pool_cases = [
    _case(2, (3,), 2),
    _case(1, (2, 3), 2),
    _case(2, (2, 1, 3), 1),
    _case(0, (2, 2), 2),
]
