"""Convolutions as networks compute them: cross-correlations, channels last."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn.contract import rule
from purenn.errors import DomainError, ShapeError
from purenn.ops._correlation import Plan, correlate, input_cotangent, kernel_cotangent
from purenn.ops._windows import Padding, Sizes, as_tuple, dilated, output_sizes, pads
from purenn.typing import Array, Float, Pullback, Shape

Linear: TypeAlias = Callable[[Array], Array]


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

    That is a cross-correlation, ``jax.lax.conv_general_dilated`` with channels last (NHWC, HWIO)
    in any number of spatial dimensions; the convolution of mathematics has the kernel flipped.
    ``padding`` is ``"SAME"``, ``"SAME_LOWER"``, ``"VALID"``, an int, or an int or pair (low, high)
    for each dimension, negative to cut off. Dilation puts zeros between the elements of the input
    or of the kernel. With ``feature_group_count`` g, each g-th of the outputs sees its g-th of the
    inputs alone (Krizhevsky, Sutskever & Hinton 2012); g = in is a depthwise convolution.

    Raises:
        ShapeError: the ranks differ or there is no spatial dimension, ``feature_group_count`` does
            not divide in and out, or a window is larger than the padded input (where lax returns
            an array without elements).
        DomainError: a stride, dilation or group count is less than 1, the padding is unknown, or a
            string although the input is dilated.
        DtypeError: a static argument is no number.
    """
    plan = _conv_plan(
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

    yₙₒⱼ = Σₜᵢ xₙ,ₒₛ₊ₜ,ᵢWₜᵢⱼ is linear in x and in W. dWₜᵢⱼ = Σₙₒ xₙ,ₒₛ₊ₜ,ᵢdyₙₒⱼ correlates x with
    dy. What tap t showed to o gets its share of dyₙₒ back, dxₙ,ₒₛ₊ₜ,ᵢ += Σⱼ dyₙₒⱼWₜᵢⱼ: the full
    convolution of dy with W, which as a correlation of padded and dilated dy with the flipped W
    would spend s² products on each that is not with a zero.
    """
    y, *cotangents = conv_cotangents(
        x,
        kernel,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
    )
    return y, lambda dy: tuple(cotangent(dy) for cotangent in cotangents)


def conv_shape(x: Shape, kernel: Shape, **options: Any) -> Shape:
    """The shape of y."""
    return (x[0], *_conv_plan(x, kernel, **options).outputs, kernel[-1])


def conv_cotangents(x: Array, kernel: Array, **options: Any) -> tuple[Array, Linear, Linear]:
    """Y, and dy -> dx and dy -> dW apart: the first layer of a model needs no dx."""
    plan = _conv_plan(x.shape, kernel.shape, **options)
    return (
        correlate(x, kernel, plan),
        lambda dy: input_cotangent(kernel, dy, plan),
        lambda dy: kernel_cotangent(x, dy, plan),
    )


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
    """Convolution of the input dilated by ``strides``: each x adds a multiple of W to y.

    As ``jax.lax.conv_transpose``: ``"SAME"`` makes size·stride outputs, ``"VALID"`` as many as the
    windows cover; numbers are what is added to the dilated input. ``kernel`` W is
    (window, in, out); with ``transpose_kernel`` it is that of the convolution whose input
    cotangent y then is, (window, out, in) (Zeiler, Krishnan, Taylor & Fergus 2010).

    Raises:
        ShapeError: the ranks differ, there is no spatial dimension, the channels of ``kernel`` are
            not those of x, or a window is larger than the dilated and padded input.
        DomainError: a stride or dilation is less than 1, or the padding is unknown.
        DtypeError: a static argument is no number.
    """
    y, _, _ = conv_transpose_cotangents(
        x,
        kernel,
        strides=strides,
        padding=padding,
        kernel_dilation=kernel_dilation,
        transpose_kernel=transpose_kernel,
    )
    return y


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

    y = Cᵀx, the input cotangent of the convolution C with V, which is W flipped in space with in
    and out exchanged. So dx = C·dy; and as ⟨dy, Cᵀx⟩ = ⟨C·dy, x⟩, dV is the kernel cotangent of C
    at the input dy for the output cotangent x. dW is dV flipped and exchanged again.
    """
    y, *cotangents = conv_transpose_cotangents(
        x,
        kernel,
        strides=strides,
        padding=padding,
        kernel_dilation=kernel_dilation,
        transpose_kernel=transpose_kernel,
    )
    return y, lambda dy: tuple(cotangent(dy) for cotangent in cotangents)


def conv_transpose_shape(
    x: Shape, kernel: Shape, *, transpose_kernel: bool, **options: Any
) -> Shape:
    """The shape of y."""
    plan = _conv_transpose_plan(x, kernel, transpose_kernel, **options)
    return (x[0], *plan.sizes, kernel[-2 if transpose_kernel else -1])


def conv_transpose_cotangents(
    x: Array, kernel: Array, *, transpose_kernel: bool, **options: Any
) -> tuple[Array, Linear, Linear]:
    """Y, and dy -> dx and dy -> dW apart."""
    plan = _conv_transpose_plan(x.shape, kernel.shape, transpose_kernel, **options)
    turn = _same if transpose_kernel else _flipped
    straight = turn(kernel)
    return (
        input_cotangent(straight, x, plan),
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
        if padding not in ("SAME", "VALID"):
            raise DomainError(
                f"{name}: padding is {padding!r}, expected 'SAME', 'VALID' or numbers"
            )
        around = tuple(
            _transposed_padding(length, step, padding)
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


class ReceptiveField(NamedTuple):
    """What a layer's outputs see of the input of the network, in one dimension."""

    size: int
    """Number of outputs."""
    jump: int
    """Distance in the input between the centres of neighbouring outputs."""
    receptive_field: int
    """Length of the input that an output depends on."""
    start: float
    """Centre of the first output's field; the first input has its centre at 0.5."""


def receptive_field(layers: Sequence[Any], size: int) -> list[ReceptiveField]:
    """Follow an input of ``size`` through convolutions and poolings, one entry for each.

    A layer is (kernel, stride, padding), or (kernel, stride, padding, dilation); the padding is
    that on either side, or ``"SAME"`` or ``"VALID"``. With k the dilated kernel, s the stride and
    p the padding, n ← ⌊(n + 2p − k)/s⌋ + 1, jump ← jump·s, field ← field + (k − 1)·jump and
    start ← start + ((k − 1)/2 − p)·jump, with the jump before; they begin at jump = field = 1 and
    start = .5 (Dang Ha The Hien 2017, "A guide to receptive field arithmetic for convolutional
    neural networks").

    Raises:
        ShapeError: a layer has not three or four numbers, or its kernel is larger than its input.
        DomainError: a number is less than 1, or a padding less than 0.
        DtypeError: a number is no int.
    """
    (count,) = as_tuple("receptive_field", "size", size, 1)
    field = ReceptiveField(count, jump=1, receptive_field=1, start=0.5)
    fields = []
    for i, layer in enumerate(layers):
        name = f"receptive_field: layers[{i}]"
        if not isinstance(layer, Sequence) or len(layer) not in (3, 4):
            raise ShapeError(f"{name} is {layer}, expected (kernel, stride, padding[, dilation])")
        window, stride, gap = (
            as_tuple(name, what, value, 1)
            for what, value in zip(
                ("kernel", "stride", "dilation"), (*layer[:2], (*layer, 1)[3]), strict=True
            )
        )
        around = pads(name, (field.size,), window, stride, gap, layer[2])
        low = around[0][0]
        if low < 0:
            raise DomainError(f"{name}: padding is {layer[2]}, expected at least 0")
        (count,) = output_sizes(name, (field.size,), window, stride, gap, around)
        reach = dilated(window[0], gap[0]) - 1
        field = ReceptiveField(
            count,
            field.jump * stride[0],
            field.receptive_field + reach * field.jump,
            field.start + (reach / 2 - low) * field.jump,
        )
        fields.append(field)
    return fields
