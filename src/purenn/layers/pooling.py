"""Layers of pooling. Images are NHWC."""

from collections.abc import Callable

from purenn.layers.core import Layer, of_rule
from purenn.ops import pooling
from purenn.ops._sliding import slides
from purenn.ops._windows import LARGEST, Padding, Sizes, rank_of
from purenn.typing import Array, Shape


def max_pool(
    window_shape: Sizes, strides: Sizes | None = None, padding: Padding = "VALID"
) -> Layer:
    """The largest entry of each window, as ``flax.linen.max_pool``; ``strides`` are 1 if not given.

    (28, 28, 32) -> (14, 14, 32) with ``max_pool((2, 2), strides=(2, 2))``.

    Raises:
        ShapeError, DomainError, DtypeError: as :func:`purenn.ops.pooling.max_pool`, when the layer
            is made where that needs no input.
    """

    def shape(input_shape: Shape) -> Shape:
        return _pooled("max_pool", input_shape, window_shape, strides, padding)

    _check("max_pool", window_shape, strides, padding)
    return of_rule(
        pooling.max_pool, shape, window_shape=window_shape, strides=strides, padding=padding
    )


def avg_pool(
    window_shape: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> Layer:
    """The average of each window, as ``flax.linen.avg_pool``; ``strides`` are 1 if not given.

    Raises:
        ShapeError, DomainError, DtypeError: as :func:`max_pool`.
    """

    def shape(input_shape: Shape) -> Shape:
        return _pooled("avg_pool", input_shape, window_shape, strides, padding)

    _check("avg_pool", window_shape, strides, padding)
    return of_rule(
        pooling.avg_pool,
        shape,
        window_shape=window_shape,
        strides=strides,
        padding=padding,
        count_include_pad=count_include_pad,
    )


def _check(name: str, window_shape: Sizes, strides: Sizes | None, padding: Padding) -> None:
    """Refuse what an input as large as any cannot have."""
    rank = rank_of(name, window_shape=window_shape, strides=strides, padding=padding)
    _pooled(name, (*(LARGEST,) * rank, 1), window_shape, strides, padding)


def _pooled(
    name: str, shape: Shape, window_shape: Sizes, strides: Sizes | None, padding: Padding
) -> Shape:
    its = slides(name, (1, *shape), window_shape, strides, padding)
    return *(slide.windows for slide in its), shape[-1]


def _global(rule: Callable[..., Array]) -> Layer:
    def shape(input_shape: Shape) -> Shape:
        pooling._whole(rule.__name__, (1, *input_shape))
        return input_shape[-1:]

    return of_rule(rule, shape)


global_max_pool = _global(pooling.global_max_pool)
"""The largest entry of each feature: (7, 7, 512) -> (512,)."""

global_avg_pool = _global(pooling.global_avg_pool)
"""The average of each feature: (7, 7, 512) -> (512,)."""
