"""Convolutions as networks compute them: cross-correlations, channels last."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from purenn.contract import rule
from purenn.errors import DomainError, ShapeError
from purenn.ops._convolution import conv_cotangents, conv_transpose_cotangents
from purenn.ops._windows import Padding, Sizes, as_tuple, dilated, output_sizes, pads
from purenn.typing import Array, Float, Pullback

__all__ = [
    "ReceptiveField",
    "conv",
    "conv_transpose",
    "conv_transpose_vjp",
    "conv_vjp",
    "receptive_field",
]


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
        DomainError: a stride, dilation or group count is less than 1, a number larger than any
            array, or the padding unknown, or a string although the input is dilated.
        DtypeError: a static argument is no int.
    """
    y, _, _ = conv_cotangents(
        x,
        kernel,
        strides=strides,
        padding=padding,
        input_dilation=input_dilation,
        kernel_dilation=kernel_dilation,
        feature_group_count=feature_group_count,
    )
    return y


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
    """``conv`` with its pullback.

    yₙₒⱼ = Σₜᵢ xₙ,ₒₛ₊ₜ,ᵢWₜᵢⱼ is linear in x and in W. dWₜᵢⱼ = Σₙₒ xₙ,ₒₛ₊ₜ,ᵢdyₙₒⱼ correlates x with
    dy. What tap t showed to o gets its share of dyₙₒ back, dxₙ,ₒₛ₊ₜ,ᵢ += Σⱼ dyₙₒⱼWₜᵢⱼ: the full
    convolution of dy with W, which as a correlation of padded and dilated dy with the flipped W
    would spend s² products on each that is not with a zero. Nothing is lost but by summing.
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
            not those of x, a window is larger than the dilated and padded input, or the padding is
            a string and there is nothing in space.
        DomainError: a stride or dilation is less than 1, a number larger than any array, or the
            padding unknown.
        DtypeError: a static argument is no int.
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
    """``conv_transpose`` with its pullback.

    y = Cᵀx, the input cotangent of the convolution C with V, which is W flipped in space with in
    and out exchanged. So dx = C·dy; and as ⟨dy, Cᵀx⟩ = ⟨C·dy, x⟩, dV is the kernel cotangent of C
    at the input dy for the output cotangent x. dW is dV flipped and exchanged again.
    Nothing is lost but by summing.
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
        ShapeError: the layers are no sequence, one has not three or four numbers, or its kernel is
            larger than its input.
        DomainError: a number is less than 1, or a padding less than 0.
        DtypeError: a number is no int.
    """
    (count,) = as_tuple("receptive_field", "size", size, 1)
    if not isinstance(layers, Sequence):
        raise ShapeError(
            f"receptive_field: layers is {layers!r}, expected a sequence of (kernel, stride, "
            "padding[, dilation])"
        )
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
        low, high = around[0]
        if min(low, high) < 0:
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
