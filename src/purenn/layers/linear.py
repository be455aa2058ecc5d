"""Layers of linear maps."""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import (
    admit,
    check_array,
    check_cotangent,
    check_integer,
    check_keys,
    unchecked,
)
from purenn.errors import DtypeError, ShapeError
from purenn.initializers import lecun_normal, variance_scaling, zeros
from purenn.layers.core import Layer, State, check_input, check_input_shape
from purenn.ops import _linear, linear
from purenn.ops._plans import Call, Plan, dense_plan
from purenn.typing import Array, Index, Key, Params, Pullback, Shape, Spec

default_kernel_init = lecun_normal()
default_embedding_init = variance_scaling(1.0, "fan_out", "normal")
"""σ² = 1/features, the same numbers as Flax's: a row has about unit length."""


def dense(
    features: int,
    kernel_init: Callable[..., Array] = default_kernel_init,
    bias_init: Callable[..., Array] = zeros,
) -> Layer:
    """x·W + b along the last axis, as ``flax.linen.Dense``.

    Parameters: ``kernel`` W (in, features) and ``bias`` b (features,), which it always has.

    Raises:
        DomainError: ``features`` is less than 1.
        DtypeError: ``features`` is no int.
    """
    features = check_integer("dense", "features", features, least=1)

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        check_input_shape("dense", input_shape)
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
            dkernel, dbias = _linear.dense_parameter_cotangents(x, dy)
            dx = _linear.dense_input_cotangent(kernel, dy) if input_cotangent else None
            return {"kernel": dkernel, "bias": dbias}, dx

        return y, pullback, state

    def plan(params: Params, x: Array, in_place: bool = False) -> Plan | None:
        found = dense_plan(x, params["kernel"], params["bias"])
        if found is None:
            return None
        its_backward = found.backward

        def backward(dy: Array, dparams: Params, dx: Array | None) -> list[Call]:
            return its_backward(dy, dx, dparams["kernel"], dparams["bias"])

        return found._replace(backward=backward)

    return Layer(init, forward, vjp, plan=plan)


def _check_dense(params: Params, x: Array, features: int) -> None:
    check_keys("dense", "params", params, ("kernel", "bias"))
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


def embedding(
    num_embeddings: int,
    features: int,
    embedding_init: Callable[..., Array] = default_embedding_init,
) -> Layer:
    """The row of a table that each id names, as ``flax.linen.Embed``: (12,) -> (12, features).

    Parameters: ``embedding`` (num_embeddings, features). The input is integers, and so has no
    cotangent: ``dx`` is ``None``.

    Raises:
        DomainError: a size is less than 1; when the returned functions are called, for an id
            that names no row.
        DtypeError: a size is no int.
    """
    num_embeddings = check_integer("embedding", "num_embeddings", num_embeddings, least=1)
    features = check_integer("embedding", "features", features, least=1)

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        check_input_shape("embedding", input_shape)
        table = embedding_init(key, (num_embeddings, features), dtype)
        return {"embedding": table}, {}, (*input_shape, features)

    def forward(params: Params, state: State, x: Array) -> Array:
        _check_embedding(params, x, (num_embeddings, features))
        return unchecked(linear.embedding)(x, params["embedding"])

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        y = forward(params, state, x)
        table = params["embedding"]

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, None]:
            check_cotangent("embedding", dy, y)
            return {"embedding": _linear.embedding_table_cotangent(x, table, dy)}, None

        return y, pullback, state

    return Layer(init, forward, vjp)


_EMBEDDING = {
    "x": Spec(("batch", "..."), "integer", (Index("num_embeddings"),)),
    "embedding": Spec(("num_embeddings", "features"), "floating", ()),
}


def _check_embedding(params: Params, x: Array, shape: Shape) -> None:
    check_keys("embedding", "params", params, ("embedding",))
    table = params["embedding"]
    admit("embedding", _EMBEDDING, {"x": x, "embedding": table})
    if table.shape != shape:
        raise ShapeError(f"embedding: embedding has shape {table.shape}, expected {shape}")
