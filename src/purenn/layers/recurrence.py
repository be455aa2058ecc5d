"""Layers of recurrences: (time, in) -> (time, features), from a state of zeros."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import admit, check_cotangent, check_integer, unchecked
from purenn.errors import ShapeError
from purenn.initializers import orthogonal, zeros
from purenn.layers.core import Layer, State, check_input_shape, vjp_of
from purenn.layers.linear import default_kernel_init
from purenn.ops import recurrence as ops
from purenn.typing import Array, Key, Params, Pullback, Shape, Spec, Specs, spec

default_recurrent_kernel_init = orthogonal()


def rnn(
    features: int,
    kernel_init: Callable[..., Array] = default_kernel_init,
    recurrent_kernel_init: Callable[..., Array] = default_recurrent_kernel_init,
    bias_init: Callable[..., Array] = zeros,
    reverse: bool = False,
    keep_order: bool = False,
) -> Layer:
    """``flax.linen.RNN`` of a ``SimpleCell``, whose parameters are under ``cell``.

    With ``reverse`` the last step comes first, also in the output unless ``keep_order``.

    Raises:
        DtypeError: ``features`` is no int.
        DomainError: ``features`` is less than 1.
    """
    inits = (kernel_init, recurrent_kernel_init, bias_init)
    return _layer(ops.rnn, ops.RNNParams, features, inits, reverse, keep_order)


def lstm(
    features: int,
    kernel_init: Callable[..., Array] = default_kernel_init,
    recurrent_kernel_init: Callable[..., Array] = default_recurrent_kernel_init,
    bias_init: Callable[..., Array] = zeros,
    reverse: bool = False,
    keep_order: bool = False,
) -> Layer:
    """``flax.linen.RNN`` of an ``LSTMCell``; else as :func:`rnn`."""
    inits = (kernel_init, recurrent_kernel_init, bias_init)
    return _layer(ops.lstm, ops.LSTMParams, features, inits, reverse, keep_order)


def gru(
    features: int,
    kernel_init: Callable[..., Array] = default_kernel_init,
    recurrent_kernel_init: Callable[..., Array] = default_recurrent_kernel_init,
    bias_init: Callable[..., Array] = zeros,
    reverse: bool = False,
    keep_order: bool = False,
) -> Layer:
    """``flax.linen.RNN`` of a ``GRUCell``; else as :func:`rnn`."""
    inits = (kernel_init, recurrent_kernel_init, bias_init)
    return _layer(ops.gru, ops.GRUParams, features, inits, reverse, keep_order)


def _layer(
    rule: Callable[..., Any],
    its_params: Any,
    features: int,
    inits: tuple[Callable[..., Array], ...],
    reverse: bool,
    keep_order: bool,
) -> Layer:
    name = rule.__name__
    features = check_integer(name, "features", features, least=1)
    kernel_init, recurrent_kernel_init, bias_init = inits
    cell = cast(dict[str, dict[str, Spec]], spec(its_params))
    specs: dict[str, Specs] = {
        "x": Spec(("batch", "...", "time", "in"), "floating", ()),
        "params": {"cell": cell},
    }
    apply, apply_vjp = unchecked(rule), unchecked(vjp_of(rule))
    static = {"reverse": reverse, "keep_order": keep_order}

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        check_input_shape(name, input_shape)
        if len(input_shape) < 2:
            raise ShapeError(f"{name}: input_shape is {input_shape}, expected (..., time, in)")
        params: Params = {}
        for (part, leaves), its_key in zip(cell.items(), random.split(key, len(cell)), strict=True):
            kernel_key, bias_key = random.split(its_key)
            of_input = part.startswith("i")
            draw = kernel_init if of_input else recurrent_kernel_init
            inner = input_shape[-1] if of_input else features
            params[part] = {"kernel": draw(kernel_key, (inner, features), dtype)}
            if "bias" in leaves:
                params[part]["bias"] = bias_init(bias_key, (features,), dtype)
        return {"cell": params}, {}, (*input_shape[:-1], features)

    def first_carry(params: Params, x: Array) -> Any:
        admit(name, specs, {"x": x, "params": params}, {"features": features})
        h = np.zeros((*x.shape[:-2], features), x.dtype)
        return (h, h) if rule is ops.lstm else h

    def forward(params: Params, state: State, x: Array) -> Array:
        carry = first_carry(params, x)
        _, y = apply(params["cell"], carry, x, **static)
        return cast(Array, y)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        carry = first_carry(params, x)
        (_, y), through = apply_vjp(params["cell"], carry, x, **static)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            check_cotangent(name, dy, y)
            dcell, _, dx = through((carry, dy), input_cotangent=input_cotangent)
            return {"cell": dcell}, dx

        return y, pullback, state

    return Layer(init, forward, vjp)
