"""Layers of linear maps."""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import check_array, check_cotangent, unchecked
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.initializers import lecun_normal, zeros
from purenn.layers.core import Layer, State, check_input
from purenn.ops import linear
from purenn.typing import Array, Key, Params, Pullback, Shape

default_kernel_init = lecun_normal()


def dense(
    features: int,
    kernel_init: Callable[..., Array] = default_kernel_init,
    bias_init: Callable[..., Array] = zeros,
) -> Layer:
    """x·W + b along the last axis, as ``flax.linen.Dense``.

    Parameters: ``kernel`` W (in, features) and ``bias`` b (features,).

    Raises:
        DomainError: ``features`` is less than 1.
    """
    if not isinstance(features, int):
        raise DtypeError(f"dense: features is a {type(features).__name__}, expected an int")
    if features < 1:
        raise DomainError(f"dense: features is {features}, expected at least 1")

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        if not input_shape:
            raise ShapeError("dense: input_shape is (), expected at least the number of features")
        kernel_key, bias_key = random.split(key)
        params = {
            "kernel": kernel_init(kernel_key, (input_shape[-1], features), dtype),
            "bias": bias_init(bias_key, (features,), dtype),
        }
        return params, {}, (*input_shape[:-1], features)

    def forward(params: Params, state: State, x: Array) -> Array:
        _check_dense(params, x, features)
        return unchecked(linear.dense)(x, params["kernel"], params["bias"])

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        y = forward(params, state, x)
        kernel = params["kernel"]

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            check_cotangent("dense", dy, y)
            dkernel, dbias = linear.dense_parameter_cotangents(x, dy)
            dx = linear.dense_input_cotangent(kernel, dy) if input_cotangent else None
            return {"kernel": dkernel, "bias": dbias}, dx

        return y, pullback, state

    return Layer(init, forward, vjp)


def _check_dense(params: Params, x: Array, features: int) -> None:
    if not isinstance(params, dict):
        raise TreeError(f"dense: params is a {type(params).__name__}, expected a dict")
    if len(params) != 2 or "kernel" not in params or "bias" not in params:
        raise TreeError(f"dense: params have {[*params]}, expected ['kernel', 'bias']")
    kernel, bias = params["kernel"], params["bias"]
    check_array("dense", "kernel", kernel)
    check_array("dense", "bias", bias)
    check_input("dense", x)
    if not x.dtype == kernel.dtype == bias.dtype:
        raise DtypeError(
            f"dense: x has dtype {x.dtype}, kernel {kernel.dtype} and bias {bias.dtype}; "
            "expected the same"
        )
    if kernel.ndim != 2 or kernel.shape[1] != features:
        raise ShapeError(f"dense: kernel has shape {kernel.shape}, expected (in, {features})")
    if bias.shape != (features,):
        raise ShapeError(f"dense: bias has shape {bias.shape}, expected ({features},)")
    if x.ndim < 2:
        raise ShapeError(f"dense: x has shape {x.shape}, expected (batch, ..., {len(kernel)})")
    if x.shape[-1] != len(kernel):
        raise ShapeError(f"dense: x has {x.shape[-1]} features, kernel expects {len(kernel)}")
