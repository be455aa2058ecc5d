"""Resizing of images, NHWC."""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.errors import ShapeError
from purenn.ops._numerics import at_least_single, narrow
from purenn.ops._sliding import Slide, spread_along, sum_along
from purenn.ops._windows import Sizes, as_tuple
from purenn.typing import Array, Float, Pullback, Shape

__all__ = ["upsample_nearest", "upsample_nearest_vjp"]


@rule
def upsample_nearest(
    x: Float[Array, "batch *spatial features"], *, scale: Sizes
) -> Float[Array, "batch *upsampled features"]:
    """Each entry as a block of ``scale`` entries, one number for all dimensions or one for each.

    ``jax.image.resize`` with ``method="nearest"`` to sizes that are multiples.

    Raises:
        ShapeError: there is no space, or ``scale`` is for another number of dimensions.
        DomainError: a scale is less than 1.
        DtypeError: one is no int.
    """
    y = x
    for its in _blocks(x.shape, scale):
        y = spread_along(y, its)
    return y


@rule
def upsample_nearest_vjp(
    x: Float[Array, "batch *spatial features"], *, scale: Sizes
) -> tuple[Float[Array, "batch *upsampled features"], Pullback]:
    """``upsample_nearest`` with its pullback.

    A copy for each place in the block, and so dx is the sum of dy over the block: upsampling is
    the transpose of a sum over windows that do not overlap. Nothing is lost but by summing.
    """

    def pullback(dy: Array) -> tuple[Array]:
        dx = at_least_single(dy)
        with np.errstate(over="ignore", invalid="ignore"):
            for its in _blocks(x.shape, scale):
                dx = sum_along(dx, its)
        return (narrow(dx, x),)

    return unchecked(upsample_nearest)(x, scale=scale), pullback


def _blocks(shape: Shape, scale: Sizes) -> list[Slide]:
    """How a block slides over the upsampled image, per dimension of space."""
    sizes = shape[1:-1]
    if not sizes:
        raise ShapeError(
            f"upsample_nearest: x has shape {shape}, expected (batch, *spatial, features)"
        )
    factors = as_tuple("upsample_nearest", "scale", scale, len(sizes))
    return [
        Slide(axis, size * factor, factor, factor, windows=size)
        for axis, (size, factor) in enumerate(zip(sizes, factors, strict=True), 1)
    ]
