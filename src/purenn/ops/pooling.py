"""Pooling: the largest or the average entry of each window. Images are NHWC."""

import math
from collections.abc import Callable

import numpy as np

from purenn.contract import rule, unchecked
from purenn.errors import DomainError, ShapeError
from purenn.ops._numerics import at_least_single, narrow
from purenn.ops._sliding import (
    Place,
    Slide,
    blocks,
    collect_along,
    fold_along,
    in_blocks,
    slides,
    spread_along,
    sum_along,
)
from purenn.ops._windows import Padding, Sizes
from purenn.typing import Annotated, Array, Float, OneOf, Pullback, Shape

__all__ = [
    "avg_pool",
    "avg_pool_vjp",
    "global_avg_pool",
    "global_avg_pool_vjp",
    "global_max_pool",
    "global_max_pool_vjp",
    "max_pool",
    "max_pool_vjp",
]


@rule
def max_pool(
    x: Float[Array, "batch *spatial features"],
    *,
    window_shape: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
) -> Float[Array, "batch *windows features"]:
    """The largest entry of each window, as ``flax.linen.max_pool``; ``strides`` are 1 if not given.

    Padding never wins: a window of padding alone is −∞. NaN wins over all.

    Raises:
        ShapeError: there is no space, an option is for another number of dimensions, or a window is
            larger than the padded input.
        DomainError: a length or stride is less than 1, or a padding negative or unknown.
        DtypeError: one is no int.
    """
    y = at_least_single(x)
    for its in reversed(slides("max_pool", x.shape, window_shape, strides, padding)):
        y = fold_along(np.maximum, -np.inf, y, its)
    return narrow(y, x)


@rule
def max_pool_vjp(
    x: Float[Array, "batch *spatial features"],
    *,
    window_shape: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
) -> tuple[Float[Array, "batch *windows features"], Pullback]:
    """``max_pool`` with its pullback.

    The largest entry of a box is the largest along H of the largest along W, and the chain rule
    goes back the same way: dy goes to the entry that won, which adds up what comes from all
    windows that overlap there.
    At a tie the first in the window, row by row, gets all of it, as in JAX (the ``GE`` of its
    ``select_and_scatter``): H comes first on the way back, and chooses the first row. Where all
    entries are −∞ the first of them gets it, in JAX padding if that comes before, which loses it.
    In a window that holds a NaN some entry gets it; which one it is in JAX depends on the order
    of comparisons. Nothing is lost but by adding what comes from windows that overlap.
    """
    y = at_least_single(x)
    through: list[Callable[[Array], Array]] = []
    for its in reversed(slides("max_pool", x.shape, window_shape, strides, padding)):
        y, back = _max_along_vjp(y, its)
        through.append(back)

    def pullback(dy: Array) -> tuple[Array]:
        dx = at_least_single(dy)
        with np.errstate(over="ignore", invalid="ignore"):
            for back in reversed(through):
                dx = back(dx)
        return (narrow(dx, x),)

    return narrow(y.copy(), x), pullback


def _max_along_vjp(x: Array, its: Slide) -> tuple[Array, Callable[[Array], Array]]:
    y = fold_along(np.maximum, -np.inf, x, its)

    def in_one_go(dy: Array) -> Array:
        first = blocks(x, its).argmax(axis=1).reshape(y.shape)
        starts = np.arange(its.windows) * its.window
        first += starts.reshape(-1, *(1,) * (y.ndim - its.axis - 1))
        dx = np.zeros(x.shape, dy.dtype)
        np.put_along_axis(dx, first, dy, its.axis)
        return dx

    def pullback(dy: Array) -> Array:
        free = np.ones(y.shape, bool)

        def part(outputs: Place, inputs: Place) -> Array:
            first = free[outputs] & ~(x[inputs] < y[outputs])
            free[outputs] ^= first
            return _where(first, dy[outputs])

        return collect_along(dy, its, part)

    return y, in_one_go if in_blocks(its) else pullback


def _where(mask: Array, x: Array) -> Array:
    """``x`` or 0, whatever x is: its bits times 1 or 0, ten times as fast as ``numpy.where``."""
    bits = np.dtype(f"i{x.itemsize}")
    return np.asarray(x.view(bits) * mask).view(x.dtype)


@rule
def avg_pool(
    x: Float[Array, "batch *spatial features"],
    *,
    window_shape: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    count_include_pad: Annotated[bool, OneOf(True, False)] = True,
) -> Float[Array, "batch *windows features"]:
    """The average of each window, as ``flax.linen.avg_pool``; ``strides`` are 1 if not given.

    Padding counts as zeros; without ``count_include_pad`` it does not count.

    Raises:
        ShapeError, DtypeError: as :func:`max_pool`.
        DomainError: as max_pool; or nothing counts: an average over padding alone.
    """
    its = slides("avg_pool", x.shape, window_shape, strides, padding)
    wide = at_least_single(x)
    cells = _cells(its, wide, count_include_pad)
    with np.errstate(over="ignore", invalid="ignore"):
        y = _sums(wide, its) / cells
        far = ~np.isfinite(y)
        if far.any():  # a sum is out of range, and its average perhaps not
            scale = wide.dtype.type(2.0 ** -math.prod(slide.window for slide in its).bit_length())
            y = np.where(far, _sums(wide * scale, its) / (cells * scale), y)
    return narrow(y, x)


def _sums(x: Array, its: list[Slide]) -> Array:
    for slide in its:
        x = sum_along(x, slide)
    return x


@rule
def avg_pool_vjp(
    x: Float[Array, "batch *spatial features"],
    *,
    window_shape: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "VALID",
    count_include_pad: Annotated[bool, OneOf(True, False)] = True,
) -> tuple[Float[Array, "batch *windows features"], Pullback]:
    """``avg_pool`` with its pullback.

    yⱼ = Σ xᵢ/nⱼ over the cells of window j, nⱼ of which count, and so dxᵢ = Σ dyⱼ/nⱼ over the
    windows that i is in. The sum over a box is a sum along one axis after the other; so is its
    transpose. Nothing is lost but by summing, in pairs where windows are large.
    """
    its = slides("avg_pool", x.shape, window_shape, strides, padding)
    y = unchecked(avg_pool)(
        x,
        window_shape=window_shape,
        strides=strides,
        padding=padding,
        count_include_pad=count_include_pad,
    )

    def pullback(dy: Array) -> tuple[Array]:
        dx = at_least_single(dy)
        dx = np.asarray(dx / _cells(its, dx, count_include_pad))
        with np.errstate(over="ignore", invalid="ignore"):
            for slide in reversed(its):
                dx = spread_along(dx, slide)
        return (narrow(dx, x),)

    return y, pullback


def _cells(its: list[Slide], y: Array, count_include_pad: bool) -> Array:
    """How many cells of each window count: the product of those along each axis."""
    if count_include_pad:
        return np.asarray(math.prod(slide.window for slide in its), y.dtype)
    cells = np.ones((), y.dtype)
    for slide in its:
        along = sum_along(np.ones(slide.size, y.dtype), slide._replace(axis=0))
        if not along.all():
            raise DomainError(
                f"avg_pool: window {int(np.argmin(along))} along axis {slide.axis} covers padding "
                "alone, expected a cell to average; count_include_pad is False"
            )
        cells = cells[..., np.newaxis] * along
    return cells[..., np.newaxis]


@rule
def global_max_pool(
    x: Float[Array, "batch *spatial features"],
) -> Float[Array, "batch features"]:
    """The largest entry of each feature: max_pool with one window for all of space.

    Raises ShapeError where there is nothing in it.
    """
    window = _whole("global_max_pool", x.shape)
    return _without_space(unchecked(max_pool)(x, window_shape=window, strides=window))


@rule
def global_max_pool_vjp(
    x: Float[Array, "batch *spatial features"],
) -> tuple[Float[Array, "batch features"], Pullback]:
    """``global_max_pool`` with its pullback: that of max_pool.

    At a tie the first entry gets all of dy; ``jax.numpy.max`` would give each an equal share.
    """
    window = _whole("global_max_pool", x.shape)
    y, through = unchecked(max_pool_vjp)(x, window_shape=window, strides=window)
    return _without_space(y), lambda dy: through(dy.reshape(y.shape))


@rule
def global_avg_pool(
    x: Float[Array, "batch *spatial features"],
) -> Float[Array, "batch features"]:
    """The average of each feature: avg_pool with one window for all of space.

    Lin, Chen & Yan 2013, "Network in network", arXiv:1312.4400.

    Raises ShapeError where there is nothing in it.
    """
    window = _whole("global_avg_pool", x.shape)
    return _without_space(unchecked(avg_pool)(x, window_shape=window, strides=window))


@rule
def global_avg_pool_vjp(
    x: Float[Array, "batch *spatial features"],
) -> tuple[Float[Array, "batch features"], Pullback]:
    """``global_avg_pool`` with its pullback: all entries get dy/n, and nothing is lost."""
    window = _whole("global_avg_pool", x.shape)
    y, through = unchecked(avg_pool_vjp)(x, window_shape=window, strides=window)
    return _without_space(y), lambda dy: through(dy.reshape(y.shape))


def _whole(name: str, shape: Shape) -> Shape:
    """The window that covers all of space."""
    if not math.prod(shape[1:-1]) or len(shape) < 3:
        raise ShapeError(
            f"{name}: x has shape {shape}, expected (batch, *spatial, features) with an entry in "
            "space"
        )
    return shape[1:-1]


def _without_space(y: Array) -> Array:
    return y.reshape(y.shape[0], y.shape[-1])
