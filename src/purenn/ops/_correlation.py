"""Sums of products of a kernel with what its windows show, and the transposes of that sum.

The windows are copied, block by block, to the rows of a matrix, which is then multiplied by the
kernel (Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks for
document processing"). In cache such a copy costs less than BLAS gains by having long rows; it is
made anew for the kernel's cotangent, as a kept matrix, nine times as large as the input for a 3 × 3
window, would have to come from memory.
"""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from purenn.ops._numerics import at_least_single, narrow, quiet
from purenn.ops._windows import Pads, dilated
from purenn.typing import Array, Shape

# How many bytes of copied windows, and of products for one tap, are worked on at once. A quarter is
# 10 % faster on one core; these keep the products few and large, as each one that BLAS shares
# between threads makes them wait for each other. By benchmarks/convolution.py.
_COLUMNS = 1 << 24
_PRODUCTS = 1 << 22
# With fewer channels than these, copying the same channel of many places is faster than copying
# the channels of one.
_FEW = 4


class Plan(NamedTuple):
    """A convolution in numbers; the first seven are for each spatial dimension."""

    sizes: Shape
    """Of the input."""
    window: Shape
    outputs: Shape
    strides: Shape
    input_dilation: Shape
    kernel_dilation: Shape
    padding: Pads
    groups: int


@quiet
def correlate(x: Array, kernel: Array, plan: Plan, bias: Array | None = None) -> Array:
    """yₙₒⱼ = Σₜᵢ xₙ,ₒₛ₊ₜ,ᵢ Wₜᵢⱼ + bⱼ, s the stride, t over the window, i over the group of j."""
    features = kernel.shape[-1]
    weights = at_least_single(kernel)
    weights = weights.reshape(prod(kernel.shape[:-1]), plan.groups, features // plan.groups)
    y = np.empty((len(x), *plan.outputs, features), weights.dtype)
    for here, columns in _columns(x, plan):
        np.matmul(columns, weights.swapaxes(0, 1), out=_rows(y[here], plan))
        if bias is not None:
            y[here] += bias
    return narrow(y, x)


@quiet
def kernel_cotangent(x: Array, dy: Array, plan: Plan) -> Array:
    """dWₜᵢⱼ = Σₙₒ xₙ,ₒₛ₊ₜ,ᵢ dyₙₒⱼ."""
    inputs, features = x.shape[-1] // plan.groups, dy.shape[-1]
    dy = at_least_single(dy)
    taps = prod(plan.window) * inputs
    dkernel = np.zeros((plan.groups, taps, features // plan.groups), dy.dtype)
    for here, columns in _columns(x, plan):
        dkernel += columns.swapaxes(1, 2) @ _rows(dy[here], plan)
    return narrow(dkernel.swapaxes(0, 1).reshape(*plan.window, inputs, features), x)


@quiet
def input_cotangent(kernel: Array, dy: Array, plan: Plan, bias: Array | None = None) -> Array:
    """dxₙ,ₒₛ₊ₜ,ᵢ = Σⱼ dyₙₒⱼ Wₜᵢⱼ + bᵢ, summed over the o and t of a place; tap by tap."""
    dy, weights = at_least_single(dy), at_least_single(kernel)
    channels = plan.groups * kernel.shape[-2]
    source, inside, extents = _placement(plan)
    dx = np.zeros((len(dy), *plan.sizes, channels), dy.dtype)
    size = prod(plan.outputs) * channels * (prod(plan.window) if channels == 1 else 1)
    images = max(_PRODUCTS // (size * dx.itemsize or 1), 1)
    for first in range(0, len(dy), images):
        target = dx[first : first + images, *source]
        padded = target
        if inside is not None:
            padded = np.zeros((len(target), *extents, channels), dx.dtype)
        products = _products(dy[first : first + images], weights, plan)
        for shown, part in zip(_shown(plan), products, strict=True):
            padded[:, *shown] += part
        if inside is not None:
            target[...] = padded[:, *inside]
        if bias is not None:
            dx[first : first + images] += bias
    return narrow(dx, kernel)


def _products(dy: Array, weights: Array, plan: Plan) -> Iterator[Array]:
    """For each tap dy·Wₜᵀ, overwritten by the next one."""
    *window, inputs, features = weights.shape
    taps, places, channels = prod(window), dy.shape[:-1], plan.groups * inputs
    rows = _rows(dy, plan)
    if channels == 1:
        at_once = weights.reshape(taps, features) @ rows[0].T
        yield from at_once.reshape(taps, *places, 1)
        return
    part = np.empty((*places, channels), dy.dtype)
    split = weights.reshape(taps, inputs, plan.groups, features // plan.groups)
    for weight in split.transpose(0, 2, 3, 1):
        np.matmul(rows, weight, out=_rows(part, plan))
        yield part


def _rows(y: Array, plan: Plan) -> Array:
    """A view of a contiguous array as matrices (groups, places, channels of a group)."""
    channels = y.shape[-1]
    y = y.reshape(prod(y.shape[:-1]), plan.groups, channels // plan.groups)
    return y.swapaxes(0, 1)


def _columns(x: Array, plan: Plan) -> Iterator[tuple[Any, Array]]:
    """Blocks of places of y, and what their windows show as (groups, places, window·in).

    A block is overwritten by the next one.
    """
    x = at_least_single(x)
    rank, groups, channels = len(plan.window), plan.groups, x.shape[-1] // plan.groups
    source, inside, extents = _placement(plan)
    row = prod(plan.outputs[1:]) * prod(plan.window) * x.shape[-1] * x.itemsize or 1
    height = max(min(_COLUMNS // row, plan.outputs[0]), 1)
    images = max(min(_COLUMNS // (row * height), len(x)), 1)
    buffer = np.empty(images * height * row // x.itemsize, x.dtype)
    padded = np.zeros(0 if inside is None else (images, *extents, x.shape[-1]), x.dtype)
    for image in range(0, len(x), images):
        shown = x[image : image + images, *source]
        if inside is not None:
            padded[: len(shown), *inside] = shown
            shown = padded[: len(shown)]
        batch, *steps, last = shown.strides
        windows = as_strided(
            shown,
            (len(shown), *plan.outputs, *plan.window, groups, channels),
            (
                batch,
                *(step * stride for step, stride in zip(steps, plan.strides, strict=True)),
                *(step * gap for step, gap in zip(steps, plan.kernel_dilation, strict=True)),
                channels * last,
                last,
            ),
        )
        for top in range(0, plan.outputs[0], height):
            part = windows[:, top : top + height]
            places, taps = part.shape[: rank + 1], (*plan.window, channels)
            block = buffer[: part.size]
            if channels < _FEW:
                axes = (*range(rank + 2, 2 * rank + 3), *range(1, rank + 1), 0, rank + 1)
                np.copyto(block.reshape(groups, *taps, *places).transpose(axes), part)
                columns = block.reshape(groups, prod(taps), prod(places)).swapaxes(1, 2)
            else:
                np.copyto(np.moveaxis(block.reshape(groups, *places, *taps), 0, -2), part)
                columns = block.reshape(groups, prod(places), prod(taps))
            yield (slice(image, image + images), slice(top, top + height)), columns


def _placement(plan: Plan) -> tuple[tuple[slice, ...], tuple[slice, ...] | None, Shape]:
    """What of x the windows see, where it lies in what they cover, and how large that is.

    The second is ``None`` where they cover nothing else: no padding, no zeros between.
    """
    source, inside, extents = [], [], []
    for size, window, count, stride, between, gap, (low, _) in zip(*plan[:-1], strict=True):
        extent = dilated(count, stride) + dilated(window, gap) - 1
        first = max(-(low // between), 0)
        stop = max(min((extent - 1 - low) // between + 1, size), first)
        source.append(slice(first, stop))
        start = low + first * between
        inside.append(slice(start, start + dilated(stop - first, between), between))
        extents.append(extent)
    covered = [part.stop - part.start for part in source] == extents
    return tuple(source), None if covered else tuple(inside), tuple(extents)


def _shown(plan: Plan) -> Iterator[tuple[slice, ...]]:
    """For each tap the places of the padded input that it shows."""
    return product(
        *(
            [slice(i * gap, i * gap + dilated(count, stride), stride) for i in range(length)]
            for length, gap, count, stride in zip(
                plan.window, plan.kernel_dilation, plan.outputs, plan.strides, strict=True
            )
        )
    )
