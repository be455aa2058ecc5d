"""A window that slides along one axis: boxes are maxima or sums along one axis after the other.

With one axis at a time a box of k × k takes 2k passes instead of k². Padding is nothing that has
to be filled in: a tap, one place in the window, serves the outputs for which it is inside.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

from purenn.errors import DomainError, ShapeError
from purenn.ops._numerics import fold_rows
from purenn.ops._windows import Padding, Sizes, as_tuple, output_sizes, pads
from purenn.typing import Array, Shape

Place: TypeAlias = tuple[slice, ...]

_LARGE = 8


class Slide(NamedTuple):
    """How a window slides along an axis."""

    axis: int
    size: int
    """Of the input."""
    window: int
    stride: int
    low: int = 0
    """How far before the input the first window begins."""
    windows: int = 1
    """How many there are."""


def slides(
    name: str, shape: Shape, window_shape: Sizes, strides: Sizes | None, padding: Padding
) -> list[Slide]:
    """One for each dimension between the first and the last.

    Raises:
        ShapeError: there is none, an argument is for more or fewer, or a window does not fit.
        DomainError: a length or stride is less than 1, or a padding negative.
        DtypeError: one is no int.
    """
    sizes = shape[1:-1]
    if not sizes:
        raise ShapeError(f"{name}: x has shape {shape}, expected (batch, *spatial, features)")
    window = as_tuple(name, "window_shape", window_shape, len(sizes))
    steps = as_tuple(name, "strides", 1 if strides is None else strides, len(sizes))
    dilation = (1,) * len(sizes)
    around = pads(name, sizes, window, steps, dilation, padding)
    if any(amount < 0 for low_high in around for amount in low_high):
        raise DomainError(f"{name}: padding is {padding}, expected at least 0")
    counts = output_sizes(name, sizes, window, steps, dilation, around)
    return [
        Slide(axis, size, length, step, low, count)
        for axis, (size, length, step, (low, _), count) in enumerate(
            zip(sizes, window, steps, around, counts, strict=True), 1
        )
    ]


def taps(its: Slide) -> Iterator[tuple[Place, Place]]:
    """For each place in the window the outputs that have an input there, and those inputs."""
    before = (slice(None),) * its.axis
    for place in range(its.window):
        at = place - its.low
        first = max(-(at // its.stride), 0)
        last = min((its.size - 1 - at) // its.stride, its.windows - 1)
        if first <= last:
            inputs = slice(at + first * its.stride, at + last * its.stride + 1, its.stride)
            yield (*before, slice(first, last + 1)), (*before, inputs)


def fold_along(operation: np.ufunc, start: float, x: Array, its: Slide) -> Array:
    """The entries of each window, folded by ``operation``; ``start`` where there are none."""
    if its.window > _LARGE:
        return (
            _fold_blocks(operation, x, its)
            if in_blocks(its)
            else _fold_runs(operation, start, x, its)
        )
    places = [*taps(its)]
    inside = its.low == 0 and (its.windows - 1) * its.stride + its.window <= its.size
    if inside and len(places) > 1:
        (_, first), (_, second), *places = places
        y = np.asarray(operation(x[first], x[second]))
    else:
        y = np.full(_resized(x, its, its.windows), start, x.dtype)
    for outputs, inputs in places:
        operation(y[outputs], x[inputs], out=y[outputs])
    return y


def in_blocks(its: Slide) -> bool:
    """Whether the windows are large, side by side from the beginning on and all inside."""
    apart = its.stride == its.window or its.windows == 1
    return its.window > _LARGE and apart and its.low == 0 and its.windows * its.window <= its.size


def blocks(x: Array, its: Slide) -> Array:
    """(…, window, …), where the windows are ``in_blocks``: what is before and after made one."""
    before, after = x.shape[: its.axis], x.shape[its.axis + 1 :]
    shown = x[_along(its, slice(its.windows * its.window))]
    return shown.reshape(math.prod(before) * its.windows, its.window, math.prod(after))


def _fold_blocks(operation: np.ufunc, x: Array, its: Slide) -> Array:
    return fold_rows(blocks(x, its), operation).reshape(_resized(x, its, its.windows))


def _fold_runs(operation: np.ufunc, start: float, x: Array, its: Slide) -> Array:
    """Folds of runs of 1, 2, 4, … neighbours, of which a window has those of its binary digits."""
    extent = (its.windows - 1) * its.stride + its.window
    runs = np.full(_resized(x, its, extent), start, x.dtype)
    first, at = max(-its.low, 0), max(its.low, 0)
    count = max(min(its.size - first, extent - at), 0)
    runs[_along(its, slice(at, at + count))] = x[_along(its, slice(first, first + count))]
    y, place, width = None, 0, 1
    while True:
        if its.window & width:
            last = place + (its.windows - 1) * its.stride
            part = runs[_along(its, slice(place, last + 1, its.stride))]
            y = part if y is None else np.asarray(operation(y, part))
            place += width
        if place == its.window:
            return y  # type: ignore[return-value]
        left, right = _along(its, slice(None, -width)), _along(its, slice(width, None))
        runs = np.asarray(operation(runs[left], runs[right]))
        width *= 2


def collect_along(dy: Array, its: Slide, part: Callable[[Place, Place], Array]) -> Array:
    """The way back of a fold: at each tap the inputs get ``part(outputs, inputs)``."""
    dx = np.zeros(_resized(dy, its, its.size), dy.dtype)
    for outputs, inputs in taps(its):
        if its.stride < its.window:
            dx[inputs] += part(outputs, inputs)
        else:
            dx[inputs] = part(outputs, inputs)
    return dx


def sum_along(x: Array, its: Slide) -> Array:
    """y = Σ of each window."""
    return fold_along(np.add, 0.0, x, its)


def spread_along(dy: Array, its: Slide) -> Array:
    """The transpose of ``sum_along``: an entry gets the dy of all windows that it is in."""
    if its.stride == its.window and its.low == 0 and its.windows * its.window == its.size:
        return np.repeat(dy, its.window, its.axis)  # a third of the time of the taps
    if its.window > _LARGE:
        apart = np.zeros(_resized(dy, its, (its.windows - 1) * its.stride + 1), dy.dtype)
        apart[_along(its, slice(None, None, its.stride))] = dy
        before = its.window - 1 - its.low
        turned = Slide(its.axis, apart.shape[its.axis], its.window, 1, before, its.size)
        return sum_along(apart, turned)
    return collect_along(dy, its, lambda outputs, inputs: dy[outputs])


def _along(its: Slide, part: slice) -> Place:
    return (*(slice(None),) * its.axis, part)


def _resized(x: Array, its: Slide, size: int) -> Shape:
    return *x.shape[: its.axis], size, *x.shape[its.axis + 1 :]
