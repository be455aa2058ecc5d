"""Convolutions made ready: their options in numbers, and their cotangents one by one."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from purenn.errors import DomainError, ShapeError
from purenn.ops._correlation import Plan, correlate, input_cotangent, kernel_cotangent
from purenn.ops._windows import Padding, Sizes, as_tuple, dilated, output_sizes, pads
from purenn.typing import Array, Shape

Linear: TypeAlias = Callable[[Array], Array]


def conv_shape(x: Shape, kernel: Shape, **options: Any) -> Shape:
    """The shape of y."""
    return (x[0], *_conv_plan(x, kernel, **options).outputs, kernel[-1])


def conv_cotangents(
    x: Array, kernel: Array, bias: Array | None = None, **options: Any
) -> tuple[Array, Linear, Linear]:
    """``y``, and ``dy -> dx`` and ``dy -> dW`` apart: the first layer of a model needs no dx."""
    plan = _conv_plan(x.shape, kernel.shape, **options)
    return (
        correlate(x, kernel, plan, bias),
        lambda dy: input_cotangent(kernel, dy, plan),
        lambda dy: kernel_cotangent(x, dy, plan),
    )


def conv_transpose_shape(
    x: Shape, kernel: Shape, *, transpose_kernel: bool, **options: Any
) -> Shape:
    """The shape of y."""
    plan = _conv_transpose_plan(x, kernel, transpose_kernel, **options)
    return (x[0], *plan.sizes, kernel[-2 if transpose_kernel else -1])


def conv_transpose_cotangents(
    x: Array, kernel: Array, bias: Array | None = None, *, transpose_kernel: bool, **options: Any
) -> tuple[Array, Linear, Linear]:
    """``y``, and ``dy -> dx`` and ``dy -> dW`` apart."""
    plan = _conv_transpose_plan(x.shape, kernel.shape, transpose_kernel, **options)
    turn = _same if transpose_kernel else _flipped
    straight = turn(kernel)
    return (
        input_cotangent(straight, x, plan, bias),
        lambda dy: correlate(dy, straight, plan),
        lambda dy: turn(kernel_cotangent(dy, x, plan)),
    )


def _same(kernel: Array) -> Array:
    return kernel


def _flipped(kernel: Array) -> Array:
    spatial = tuple(range(kernel.ndim - 2))
    return np.ascontiguousarray(np.flip(kernel, spatial).swapaxes(-1, -2))


def _conv_plan(
    x: Shape,
    kernel: Shape,
    *,
    strides: Sizes,
    padding: Padding,
    input_dilation: Sizes,
    kernel_dilation: Sizes,
    feature_group_count: int,
) -> Plan:
    name = "conv"
    sizes, window = _spatial(name, x, kernel)
    stride = as_tuple(name, "strides", strides, len(sizes))
    between = as_tuple(name, "input_dilation", input_dilation, len(sizes))
    gap = as_tuple(name, "kernel_dilation", kernel_dilation, len(sizes))
    (groups,) = as_tuple(name, "feature_group_count", feature_group_count, 1)
    for what, channels in (("in", x[-1]), ("out", kernel[-1])):
        if channels % groups:
            raise ShapeError(
                f"{name}: feature_group_count is {groups}, "
                f"expected a divisor of {what} = {channels}"
            )
    if kernel[-2] * groups != x[-1]:
        raise ShapeError(
            f"{name}: kernel has shape {kernel}, expected (*window, {x[-1] // groups}, out) "
            f"for in = {x[-1]} and feature_group_count {groups}"
        )
    if isinstance(padding, str) and max(between) > 1:
        raise DomainError(
            f"{name}: padding is {padding!r} and input_dilation {input_dilation}, "
            "expected padding in numbers where the input is dilated"
        )
    around = pads(name, sizes, window, stride, gap, padding)
    outputs = output_sizes(name, sizes, window, stride, gap, around, between)
    return Plan(sizes, window, outputs, stride, between, gap, around, groups)


def _conv_transpose_plan(
    x: Shape,
    kernel: Shape,
    transpose_kernel: bool,
    *,
    strides: Sizes,
    padding: Padding,
    kernel_dilation: Sizes,
) -> Plan:
    """The convolution that takes y to x."""
    name = "conv_transpose"
    sizes, window = _spatial(name, x, kernel)
    stride = as_tuple(name, "strides", strides, len(sizes))
    gap = as_tuple(name, "kernel_dilation", kernel_dilation, len(sizes))
    if kernel[-1 if transpose_kernel else -2] != x[-1]:
        expected = f"out, {x[-1]}" if transpose_kernel else f"{x[-1]}, out"
        raise ShapeError(
            f"{name}: kernel has shape {kernel}, expected (*window, {expected}) for in = {x[-1]}"
        )
    covered = [dilated(length, step) for length, step in zip(window, gap, strict=True)]
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise DomainError(
                f"{name}: padding is {padding!r}, expected 'SAME', 'VALID' or numbers"
            )
        if not min(sizes):
            raise ShapeError(
                f"{name}: x has shape {x}, expected an entry in space for padding {padding!r}"
            )
        around = tuple(
            _transposed_padding(length, step, padding.upper())
            for length, step in zip(covered, stride, strict=True)
        )
    else:
        around = pads(name, sizes, window, stride, gap, padding)
    ones = (1,) * len(sizes)
    outputs = output_sizes(name, sizes, window, ones, gap, around, stride)
    back = tuple(
        (length - 1 - low, length - 1 - high)
        for length, (low, high) in zip(covered, around, strict=True)
    )
    return Plan(outputs, window, sizes, stride, ones, gap, back, groups=1)


def _transposed_padding(length: int, stride: int, padding: str) -> tuple[int, int]:
    """``jax.lax.conv_transpose``'s for a window of this length, dilation included."""
    if padding == "VALID":
        return length - 1, max(length, stride) - 1
    total = length + stride - 2
    low = length - 1 if stride >= length else (total + 1) // 2
    return low, total - low


def _spatial(name: str, x: Shape, kernel: Shape) -> tuple[Shape, Shape]:
    if len(x) < 3 or len(kernel) != len(x):
        raise ShapeError(
            f"{name}: x has shape {x} and kernel {kernel}, expected (batch, *spatial, in) and "
            "(*window, in, out) of the same rank, at least 3"
        )
    return x[1:-1], kernel[:-2]
