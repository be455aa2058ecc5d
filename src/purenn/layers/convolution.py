"""Layers of convolutions."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import admit, check_cotangent, check_integer
from purenn.errors import ShapeError
from purenn.initializers import zeros
from purenn.layers.core import Layer, State, check_input, check_input_shape
from purenn.layers.linear import default_kernel_init
from purenn.ops import _convolution
from purenn.ops._linear import bias_cotangent
from purenn.ops._windows import LARGEST, Padding, Sizes, as_tuple, rank_of
from purenn.typing import Array, Key, Params, Pullback, Shape, Spec, Specs


def conv(
    features: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    feature_group_count: int = 1,
    use_bias: bool = True,
    kernel_init: Callable[..., Array] = default_kernel_init,
    bias_init: Callable[..., Array] = zeros,
) -> Layer:
    """Slide a kernel over space and add a bias, as ``flax.linen.Conv``: (28, 28, 1) -> (28, 28, 8).

    ``kernel_size`` has a number for each spatial dimension; an int is for one dimension. The other
    options are those of :func:`purenn.ops.convolution.conv`.

    Parameters: ``kernel`` (*kernel_size, in / feature_group_count, features) and, unless
    ``use_bias`` is false, ``bias`` (features,).

    Raises:
        DomainError: a number is less than 1, or the padding unknown.
        ShapeError: an option is for another number of dimensions than ``kernel_size``, or the
            groups do not divide ``features``; when the layer is used, the input does not fit.
        DtypeError: a number is no int.
    """
    options = {
        "strides": strides,
        "padding": padding,
        "input_dilation": input_dilation,
        "kernel_dilation": kernel_dilation,
        "feature_group_count": feature_group_count,
    }
    features = check_integer("conv", "features", features, least=1)
    groups = check_integer("conv", "feature_group_count", feature_group_count, least=1)
    return _layer(
        "conv",
        features,
        kernel_size,
        lambda channels: (channels // groups, features),
        options,
        (kernel_init, bias_init if use_bias else None),
    )


def conv_transpose(
    features: int,
    kernel_size: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "SAME",
    kernel_dilation: Sizes = 1,
    transpose_kernel: bool = False,
    use_bias: bool = True,
    kernel_init: Callable[..., Array] = default_kernel_init,
    bias_init: Callable[..., Array] = zeros,
) -> Layer:
    """Convolve the input dilated by ``strides`` and add a bias, as ``flax.linen.ConvTranspose``.

    With strides of 2: (14, 14, 8) -> (28, 28, features). ``kernel_size`` has a number for each
    spatial dimension; an int is for one dimension. The other options are those of
    :func:`purenn.ops.convolution.conv_transpose`.

    Parameters: ``kernel`` (*kernel_size, in, features), with ``transpose_kernel``
    (*kernel_size, features, in), and, unless ``use_bias`` is false, ``bias`` (features,).

    Raises:
        DomainError, ShapeError, DtypeError: as :func:`conv`.
    """
    options = {
        "strides": strides,
        "padding": padding,
        "kernel_dilation": kernel_dilation,
        "transpose_kernel": transpose_kernel,
    }
    features = check_integer("conv_transpose", "features", features, least=1)
    return _layer(
        "conv_transpose",
        features,
        kernel_size,
        lambda channels: (features, channels) if transpose_kernel else (channels, features),
        options,
        (kernel_init, bias_init if use_bias else None),
    )


def _layer(
    name: str,
    features: int,
    kernel_size: Sizes,
    ends: Callable[[int], Shape],
    options: dict[str, Any],
    initializers: tuple[Callable[..., Array], Callable[..., Array] | None],
) -> Layer:
    """The layer of the rule ``name``; ``ends`` are the last sizes of the kernel for so many in."""
    shape = getattr(_convolution, f"{name}_shape")
    cotangents = getattr(_convolution, f"{name}_cotangents")
    window = as_tuple(name, "kernel_size", kernel_size, rank_of(name, kernel_size=kernel_size))
    rank = len(window)
    groups = options.get("feature_group_count", 1)
    # What an input as large as any cannot have, none can.
    shape((1, *(LARGEST,) * rank, groups), (*window, *ends(groups)), **options)
    kernel_init, bias_init = initializers
    leaves = {"kernel": Spec(("*kernel",), "floating", ())}
    if bias_init:
        leaves["bias"] = Spec(("features",), "floating", ())
    specs: dict[str, Specs] = {
        "x": Spec(("batch", *["_"] * rank, "in"), "floating", ()),
        "params": leaves,
    }
    expected = f"({', '.join(['_'] * rank)}, in)"

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        check_input_shape(name, input_shape)
        if len(input_shape) != rank + 1:
            raise ShapeError(f"{name}: input_shape is {input_shape}, expected {expected}")
        kernel_shape = (*window, *ends(input_shape[-1]))
        _, *output_shape = shape((1, *input_shape), kernel_shape, **options)
        kernel_key, bias_key = random.split(key)
        params = {"kernel": kernel_init(kernel_key, kernel_shape, dtype)}
        if bias_init:
            params["bias"] = bias_init(bias_key, (features,), dtype)
        return params, {}, tuple(output_shape)

    def check(params: Params, x: Array) -> None:
        check_input(name, x)
        known: dict[str, int | Shape] = {
            "*kernel": (*window, *ends(x.shape[-1])),
            "features": features,
        }
        admit(name, specs, {"x": x, "params": params}, known)

    def forward(params: Params, state: State, x: Array) -> Array:
        check(params, x)
        y, _, _ = cotangents(x, params["kernel"], params.get("bias"), **options)
        return y  # type: ignore[no-any-return]

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        check(params, x)
        y, to_input, to_kernel = cotangents(x, params["kernel"], params.get("bias"), **options)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            check_cotangent(name, dy, y)
            dparams = {"kernel": to_kernel(dy)}
            if bias_init:
                dparams["bias"] = bias_cotangent(dy)
            return dparams, to_input(dy) if input_cotangent else None

        return y, pullback, state

    return Layer(init, forward, vjp)
