"""Convolutions in JAX."""

from collections.abc import Sequence
from typing import Any

import jax
from jaxtyping import Array, Float


def conv(
    x: Float[Array, "batch *spatial in"],
    kernel: Float[Array, "*window group_in out"],
    *,
    strides: int | Sequence[int] = 1,
    padding: Any = "SAME",
    input_dilation: int | Sequence[int] = 1,
    kernel_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
) -> Float[Array, "batch *outputs out"]:
    rank = x.ndim - 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        _each(strides, rank),
        _pairs(padding, rank),
        lhs_dilation=_each(input_dilation, rank),
        rhs_dilation=_each(kernel_dilation, rank),
        dimension_numbers=_LAYOUTS[rank],
        feature_group_count=feature_group_count,
    )


def conv_transpose(
    x: Float[Array, "batch *spatial in"],
    kernel: Float[Array, "*window kernel_in kernel_out"],
    *,
    strides: int | Sequence[int] = 1,
    padding: Any = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    transpose_kernel: bool = False,
) -> Float[Array, "batch *outputs out"]:
    rank = x.ndim - 2
    return jax.lax.conv_transpose(
        x,
        kernel,
        _each(strides, rank),
        _pairs(padding, rank),
        rhs_dilation=_each(kernel_dilation, rank),
        dimension_numbers=_LAYOUTS[rank],
        transpose_kernel=transpose_kernel,
    )


_LAYOUTS = {
    1: ("NHC", "HIO", "NHC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NHWDC", "HWDIO", "NHWDC"),
}


def _each(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _pairs(padding: Any, rank: int) -> Any:
    if isinstance(padding, str):
        return padding
    each = (padding,) * rank if isinstance(padding, int) else padding
    return [(pair, pair) if isinstance(pair, int) else tuple(pair) for pair in each]
