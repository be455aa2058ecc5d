"""Convolutions as networks compute them: cross-correlations, channels last."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from purenn.contract import rule, unchecked
from purenn.errors import DomainError, ShapeError
from purenn.ops._numerics import at_least_single, narrow
from purenn.ops._windows import Padding, Pads, Sizes, as_tuple, dilated, output_sizes, pads
from purenn.typing import Array, Float, Pullback, Shape

# What is computed at once fits into a core's cache; measured in benchmarks/convolution.py.
_COLUMNS = 1 << 22  # bytes of the copied windows
_PRODUCTS = 1 << 20  # bytes of the products that one tap adds to an input cotangent
_FEW = (
    8  # channels; below, whole rows of one channel are copied faster than all channels of one place
)


@rule
def conv(
    x: Float[Array, "batch *spatial in"],
    kernel: Float[Array, "*window group_in out"],
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    feature_group_count: int = 1,
) -> Float[Array, "batch *outputs out"]:
    """Slide ``kernel`` W over x: yₙₒⱼ = Σₜᵢ xₙ,ₒₛ₊ₜ,ᵢ Wₜᵢⱼ, s the stride, t over the window.

    That is a cross-correlation, ``jax.lax.conv_general_dilated`` with channels last (NHWC, HWIO),
    in any number of spatial dimensions; the convolution of mathematics has the kernel flipped.
    ``padding`` is ``"SAME"``, ``"SAME_LOWER"``, ``"VALID"``, an int, or an int or pair
    (low, high) for each dimension, negative to cut off. Dilation puts zeros between the elements
    of the input or the kernel. With ``feature_group_count`` g, each g-th of the outputs sees its
    g-th of the inputs alone (Krizhevsky, Sutskever & Hinton 2012); with g = in the convolution is
    depthwise. All windows are copied, block by block, to the rows of a matrix, which is then
    multiplied by the kernel (Chellapilla, Puri & Simard 2006).

    Raises:
        ShapeError: the ranks differ or there is no spatial dimension, ``feature_group_count`` does
            not divide in and out, or a window is larger than the padded input (where lax returns
            an array without elements).
        DomainError: a stride, dilation or group count is less than 1, the padding is unknown, or a
            string although the input is dilated.
        DtypeError: a static argument is no number.
    """
    plan = conv_plan(
        "conv",
        x.shape,
        kernel.shape,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
    )
    return correlate(x, kernel, plan)


@rule
def conv_vjp(
    x: Float[Array, "batch *spatial in"],
    kernel: Float[Array, "*window group_in out"],
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    feature_group_count: int = 1,
) -> tuple[Float[Array, "batch *outputs out"], Pullback]:
    """Convolution with its pullback.

    yₙₒⱼ = Σₜᵢ xₙ,ₒₛ₊ₜ,ᵢWₜᵢⱼ is linear in both. Each x that a tap t shows to an output o gets
    dy times the weight back, dxₙ,ₒₛ₊ₜ,ᵢ += Σⱼ dyₙₒⱼWₜᵢⱼ: the full convolution of dy with W, by
    taps, so that a stride does not multiply by the zeros between the dy. dWₜᵢⱼ =
    Σₙₒ xₙ,ₒₛ₊ₜ,ᵢdyₙₒⱼ is the correlation of x with dy: the copied windows, transposed, times dy.
    The windows are copied anew: in cache that is faster than to read a kept matrix, nine times
    as large as x for a 3 × 3 kernel, from memory.
    """
    plan = conv_plan(
        "conv",
        x.shape,
        kernel.shape,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
    )

    def pullback(dy: Array) -> tuple[Array, Array]:
        return conv_input_cotangent(kernel, dy, plan), conv_kernel_cotangent(x, dy, plan)

    return correlate(x, kernel, plan), pullback


@rule
def conv_transpose(
    x: Float[Array, "batch *spatial in"],
    kernel: Float[Array, "*window kernel_in kernel_out"],
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    kernel_dilation: Sizes = 1,
    transpose_kernel: bool = False,
) -> Float[Array, "batch *outputs out"]:
    """Convolution with the input dilated by ``strides``, which it so undoes in shape.

    ``jax.lax.conv_transpose``: ``"SAME"`` makes size·stride outputs, ``"VALID"`` the size that a
    valid convolution with this stride would turn into that of x, numbers are what is added to the
    dilated input. ``kernel`` is (window, in, out); with ``transpose_kernel`` it is that of the
    convolution whose input cotangent this then is, (window, out, in) (Zeiler, Krishnan, Taylor
    & Fergus 2010). Computed as such an input cotangent in either case, without the zeros.

    Raises:
        ShapeError, DomainError, DtypeError: as :func:`conv`.
    """
    return unchecked(conv_transpose_vjp)(
        x,
        kernel,
        strides=strides,
        padding=padding,
        kernel_dilation=kernel_dilation,
        transpose_kernel=transpose_kernel,
    )[0]


@rule
def conv_transpose_vjp(
    x: Float[Array, "batch *spatial in"],
    kernel: Float[Array, "*window kernel_in kernel_out"],
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    kernel_dilation: Sizes = 1,
    transpose_kernel: bool = False,
) -> tuple[Float[Array, "batch *outputs out"], Pullback]:
    """Transposed convolution with its pullback.

    y = Cᵀx where C convolves with V, the kernel flipped in space and with in and out exchanged.
    So dx = C·dy, the convolution itself, and dV is that of C at dy with the cotangent x, since
    ⟨dy, Cᵀx⟩ = ⟨C·dy, x⟩. Flipping and exchanging dV gives dW.
    """
    plan = conv_transpose_plan(
        x.shape,
        kernel.shape,
        strides=strides,
        padding=padding,
        kernel_dilation=kernel_dilation,
        transpose_kernel=transpose_kernel,
    )
    straight = kernel if transpose_kernel else flipped(kernel)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dkernel = conv_kernel_cotangent(dy, x, plan)
        return correlate(dy, straight, plan), dkernel if transpose_kernel else flipped(dkernel)

    return conv_input_cotangent(straight, x, plan), pullback


class Plan(NamedTuple):
    """A convolution in numbers."""

    sizes: Shape
    """Spatial shape of its input."""
    window: Shape
    outputs: Shape
    strides: Shape
    input_dilation: Shape
    kernel_dilation: Shape
    padding: Pads
    groups: int


def conv_plan(
    name: str,
    x: Shape,
    kernel: Shape,
    *,
    strides: Sizes,
    padding: Padding,
    input_dilation: Sizes,
    kernel_dilation: Sizes,
    feature_group_count: int,
) -> Plan:
    """What :func:`conv` does to arrays of these shapes; refuses what it cannot."""
    _check_ranks(name, x, kernel)
    sizes, window = x[1:-1], kernel[:-2]
    rank = len(sizes)
    stride = as_tuple(name, "strides", strides, rank)
    between = as_tuple(name, "input_dilation", input_dilation, rank)
    dilation = as_tuple(name, "kernel_dilation", kernel_dilation, rank)
    (groups,) = as_tuple(name, "feature_group_count", feature_group_count, 1)
    for what, channels in (("in", x[-1]), ("out", kernel[-1])):
        if channels % groups:
            raise ShapeError(
                f"{name}: feature_group_count is {groups}, "
                f"expected a divisor of {what} = {channels}"
            )
    if kernel[-2] * groups != x[-1]:
        raise ShapeError(
            f"{name}: kernel has shape {kernel}, expected (*window, {x[-1] // groups}, out): "
            f"x has {x[-1]} channels in {groups} group{'s' * (groups > 1)}"
        )
    if isinstance(padding, str) and max(between) > 1:
        raise DomainError(
            f"{name}: padding is {padding!r} and input_dilation {input_dilation}, "
            "expected padding in numbers where the input is dilated"
        )
    numbers = pads(name, sizes, window, stride, dilation, padding)
    outputs = output_sizes(name, sizes, window, stride, dilation, numbers, between)
    return Plan(sizes, window, outputs, stride, between, dilation, numbers, groups)


def conv_transpose_plan(
    x: Shape,
    kernel: Shape,
    *,
    strides: Sizes,
    padding: Padding,
    kernel_dilation: Sizes,
    transpose_kernel: bool,
) -> Plan:
    """The convolution of which :func:`conv_transpose` is the transpose: from y to x."""
    name = "conv_transpose"
    _check_ranks(name, x, kernel)
    sizes, window = x[1:-1], kernel[:-2]
    rank = len(sizes)
    stride = as_tuple(name, "strides", strides, rank)
    dilation = as_tuple(name, "kernel_dilation", kernel_dilation, rank)
    if kernel[-1 if transpose_kernel else -2] != x[-1]:
        expected = f"out, {x[-1]}" if transpose_kernel else f"{x[-1]}, out"
        raise ShapeError(
            f"{name}: kernel has shape {kernel}, expected (*window, {expected}): "
            f"x has {x[-1]} channels"
        )
    covered = [dilated(length, step) for length, step in zip(window, dilation, strict=True)]
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise DomainError(
                f"{name}: padding is {padding!r}, expected 'SAME', 'VALID' or numbers"
            )
        numbers = tuple(
            _transposed_padding(length, step, padding)
            for length, step in zip(covered, stride, strict=True)
        )
    else:
        numbers = pads(name, sizes, window, stride, dilation, padding)
    ones = (1,) * rank
    outputs = output_sizes(name, sizes, window, ones, dilation, numbers, stride)
    cut = tuple(
        (length - 1 - low, length - 1 - high)
        for length, (low, high) in zip(covered, numbers, strict=True)
    )
    return Plan(outputs, window, sizes, stride, ones, dilation, cut, 1)


def _transposed_padding(length: int, stride: int, padding: str) -> tuple[int, int]:
    """``jax.lax.conv_transpose``'s: what leaves size·stride outputs, or those of whole windows."""
    if padding == "VALID":
        return length - 1, max(length, stride) - 1
    total = length + stride - 2
    low = length - 1 if stride >= length else -(-total // 2)
    return low, total - low


def _check_ranks(name: str, x: Shape, kernel: Shape) -> None:
    if len(x) < 3 or len(kernel) != len(x):
        raise ShapeError(
            f"{name}: x has shape {x} and kernel {kernel}, expected (batch, *spatial, in) and "
            "(*window, in, out) with as many dimensions, at least one of them spatial"
        )


def correlate(x: Array, kernel: Array, plan: Plan) -> Array:
    """y alone: the windows of x times the kernel."""
    features = kernel.shape[-1]
    y = np.empty((len(x), *plan.outputs, features), at_least_single(x[:0]).dtype)
    weights = at_least_single(kernel).reshape(-1, plan.groups, features // plan.groups)
    for here, columns in _columns(x, plan):
        np.matmul(columns, weights.swapaxes(0, 1), out=_rows(y[here], plan))
    return narrow(y, x)


def conv_kernel_cotangent(x: Array, dy: Array, plan: Plan) -> Array:
    """DW alone: the first layer of a model needs no dx."""
    inputs, features = x.shape[-1] // plan.groups, dy.shape[-1]
    taps = prod(plan.window) * inputs
    dy = at_least_single(dy)
    dkernel = np.zeros((plan.groups, taps, features // plan.groups), dy.dtype)
    for here, columns in _columns(x, plan):
        dkernel += columns.swapaxes(1, 2) @ _rows(dy[here], plan)
    return narrow(dkernel.swapaxes(0, 1).reshape(*plan.window, inputs, features), x)


def conv_input_cotangent(kernel: Array, dy: Array, plan: Plan) -> Array:
    """Dx alone, for whoever wants no more."""
    inputs, features = kernel.shape[-2], kernel.shape[-1]
    whole, weights = at_least_single(dy), at_least_single(kernel)
    weights = weights.reshape(*plan.window, inputs, plan.groups, features // plan.groups)
    source, inside, extents = _placement(plan)
    dx = np.zeros((len(dy), *plan.sizes, plan.groups * inputs), whole.dtype)
    size = prod(plan.outputs) * dx.shape[-1]
    images = max(_PRODUCTS // (size * dx.itemsize or 1), 1)
    product = np.empty(min(images, len(dy)) * size, dx.dtype)
    for first in range(0, len(dy), images):
        target = dx[first : first + images, *source]
        rows = _rows(whole[first : first + images], plan)
        padded = (
            target if inside is None else np.zeros((len(target), *extents, dx.shape[-1]), dx.dtype)
        )
        part = product[: len(target) * size].reshape(len(target), *plan.outputs, dx.shape[-1])
        for tap in np.ndindex(*plan.window):
            np.matmul(rows, weights[tap].transpose(1, 2, 0), out=_rows(part, plan))
            padded[:, *_shown(tap, plan)] += part
        if inside is not None:
            target[...] = padded[:, *inside]
    return narrow(dx, dy)


def flipped(kernel: Array) -> Array:
    """The kernel flipped in space, with in and out exchanged."""
    spatial = tuple(range(kernel.ndim - 2))
    return np.ascontiguousarray(np.flip(kernel, spatial).swapaxes(-1, -2))


def _rows(y: Array, plan: Plan) -> Array:
    """A view as matrices (groups, places, channels of a group)."""
    channels = y.shape[-1]
    y = y.reshape(prod(y.shape[:-1]), plan.groups, channels // plan.groups)
    return y.swapaxes(0, 1)


def _columns(x: Array, plan: Plan) -> Iterator[tuple[Any, Array]]:
    """Blocks of places of y, and what their windows show as (groups, places, window·in)."""
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

    The second is ``None`` where they cover nothing else, no padding and no zeros between.
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


def _shown(tap: Sequence[int], plan: Plan) -> list[slice]:
    """The places that all windows show at ``tap``."""
    return [
        slice(i * gap, i * gap + dilated(count, stride), stride)
        for i, gap, count, stride in zip(
            tap, plan.kernel_dilation, plan.outputs, plan.strides, strict=True
        )
    ]
