"""Layers of attention."""

from collections.abc import Callable
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import admit, check_cotangent, check_integer, unchecked
from purenn.errors import ShapeError
from purenn.initializers import zeros
from purenn.layers.core import Layer, State, check_input_shape
from purenn.layers.linear import default_kernel_init
from purenn.ops import attention
from purenn.ops._numerics import at_least_single, narrow
from purenn.typing import Array, Bool, Key, Params, Pullback, Shape, Spec, Specs, spec


def multi_head_attention(
    num_heads: int,
    qkv_features: int | None = None,
    out_features: int | None = None,
    mask: Bool[Array, "..."] | None = None,
    is_causal: bool = False,
    kernel_init: Callable[..., Array] = default_kernel_init,
    bias_init: Callable[..., Array] = zeros,
) -> Layer:
    """Self-attention, as ``flax.linen.MultiHeadDotProductAttention``: (length, features) to itself.

    ``qkv_features``, of all heads together, and ``out_features`` are those of the input unless
    given. ``mask``, which is True where a place may attend to another, is the same at each call and
    broadcasts to (batch, ..., heads, length, length); with ``is_causal`` a place attends to what
    comes up to it only.

    Parameters: of ``query``, ``key`` and ``value`` each a ``kernel`` (in, heads, head features) and
    a ``bias``, of ``out`` a ``kernel`` (heads, head features, out) and a ``bias``.

    Raises:
        DtypeError: a size is no int, or ``mask`` not boolean.
        DomainError: a size is less than 1.
        ShapeError: ``num_heads`` does not divide ``qkv_features``; when the layer is used, that of
            the input, or ``mask`` does not broadcast.
    """
    for argument, size in (
        ("num_heads", num_heads),
        ("qkv_features", qkv_features),
        ("out_features", out_features),
    ):
        if size is not None or argument == "num_heads":
            check_integer(_NAME, argument, size, least=1)
    if mask is not None:
        admit(_NAME, {"mask": Spec(("...",), "boolean", ())}, {"mask": mask})
        mask = mask.copy()
    if qkv_features is not None:
        _head_features(qkv_features, num_heads)

    static: Any = {"mask": mask, "is_causal": is_causal}

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        check_input_shape(_NAME, input_shape)
        if len(input_shape) < 2:
            raise ShapeError(
                f"{_NAME}: input_shape is {input_shape}, expected (..., length, features)"
            )
        features = input_shape[-1]
        width = _head_features(qkv_features or features, num_heads)
        params: Params = {}
        for name, its_key in zip(_PARTS, random.split(key, len(_PARTS)), strict=True):
            inner: Shape = (features,)
            outer: Shape = (num_heads, width)
            if name == "out":
                inner, outer = outer, (out_features or features,)
            kernel_key, bias_key = random.split(its_key)
            flat = (prod(inner), prod(outer))
            params[name] = {
                "kernel": kernel_init(kernel_key, flat, dtype).reshape(*inner, *outer),
                "bias": bias_init(bias_key, outer, dtype),
            }
        return params, {}, (*input_shape[:-1], params["out"]["bias"].size)

    def check(params: Params, x: Array) -> None:
        known = {"heads": num_heads}
        known |= {"out": out_features} if out_features is not None else {}
        admit(_NAME, _SPECS, {"x": x, "params": params}, known)

    def forward(params: Params, state: State, x: Array) -> Array:
        check(params, x)
        its = cast(attention.MultiHeadParams, params)
        return unchecked(attention.multi_head_attention)(its, x, x, x, **static)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        check(params, x)
        its = cast(attention.MultiHeadParams, params)
        apply_vjp = unchecked(attention.multi_head_attention_vjp)
        y, through = apply_vjp(its, x, x, x, **static)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            check_cotangent(_NAME, dy, y)
            dparams, *thrice = through(dy, input_cotangent=input_cotangent)
            if not input_cotangent:
                return dparams, None
            as_query, as_key, as_value = map(at_least_single, thrice)
            return dparams, narrow(as_query + as_key + as_value, x)

        return y, pullback, state

    return Layer(init, forward, vjp)


_NAME = "multi_head_attention"
_PARTS = ("query", "key", "value", "out")


def _head_features(features: int, num_heads: int) -> int:
    if features % num_heads:
        raise ShapeError(
            f"{_NAME}: num_heads is {num_heads}, expected a divisor of the {features} features"
        )
    return features // num_heads


def _of_one_input(its: Specs) -> Specs:
    """The specification with one name for the features of all three inputs."""
    if isinstance(its, dict):
        return {step: _of_one_input(child) for step, child in its.items()}
    assert isinstance(its, Spec)
    return its._replace(dims=tuple("in" if dim.endswith("_in") else dim for dim in its.dims))


_SPECS: dict[str, Specs] = {
    "x": Spec(("batch", "...", "length", "in"), "floating", ()),
    "params": _of_one_input(cast(Specs, spec(attention.MultiHeadParams))),
}
