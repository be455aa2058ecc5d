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


# Channels are one or two and groups there where they are told apart, so that few numbers suffice.
_ONE = {"in": 1, "group_in": 1, "out": 1}
conv_cases: list[dict[str, Any]] = [
    {"batch": 2, "spatial": (3,), "window": (2,), **_ONE},
    {"spatial": (3, 2), "window": (2, 2), "in": 2, "group_in": 2, "out": 2},
    {"spatial": (5,), "window": (3,), **_ONE, "strides": 2, "padding": "VALID"},
    {"spatial": (7,), "window": (2,), **_ONE, "strides": 3},
    {"spatial": (4,), "window": (3,), **_ONE, "padding": ((3, -1),)},
    {"spatial": (5,), "window": (3,), **_ONE, "kernel_dilation": 2},
    {"spatial": (3,), "window": (2,), **_ONE, "input_dilation": 2, "padding": 1},
    {"spatial": (3,), "window": (2,), "in": 2, "group_in": 1, "out": 2, "feature_group_count": 2},
    {"spatial": (2,), "window": (2,), "in": 4, "group_in": 2, "out": 2, "feature_group_count": 2},
    {"spatial": (2, 2, 2), "window": (2, 1, 2), "in": 1, "group_in": 1, "out": 2},
    {
        "spatial": (3, 4),
        "window": (2, 3),
        **_ONE,
        "strides": (2, 1),
        "padding": ((1, 0), (0, 2)),
        "input_dilation": (2, 1),
        "kernel_dilation": (1, 2),
    },
]

_ONE_EACH = {"in": 1, "kernel_in": 1, "kernel_out": 1}
conv_transpose_cases: list[dict[str, Any]] = [
    {"batch": 2, "spatial": (3,), "window": (2,), **_ONE_EACH},
    {"spatial": (2, 2), "window": (3, 2), "in": 2, "kernel_in": 2, "kernel_out": 1, "strides": 2},
    {"spatial": (3,), "window": (3,), **_ONE_EACH, "strides": 2, "padding": "VALID"},
    {"spatial": (2,), "window": (2,), **_ONE_EACH, "strides": 3, "padding": "VALID"},
    {"spatial": (3,), "window": (3,), **_ONE_EACH, "strides": 2, "kernel_dilation": 2},
    {"spatial": (3,), "window": (2,), **_ONE_EACH, "strides": 2, "padding": ((3, -1),)},
    {
        "spatial": (2,),
        "window": (3,),
        "in": 2,
        "kernel_in": 1,
        "kernel_out": 2,
        "strides": 2,
        "transpose_kernel": True,
    },
]
