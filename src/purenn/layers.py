"""Layers: a model is three pure functions over a parameter dict.

Leaf names and layouts are Flax's, so the parameters of ``serial(hidden=dense(128), act=relu,
out=dense(10))`` are the ``params`` collection of a ``flax.linen`` module with submodules of the
same names: ``params["hidden"]["kernel"]`` has shape (in, out). A layer without parameters has no
entry.

A layer refuses what does not fit with a few comparisons per call, and the message leads to it:
``encoder: hidden: dense: x has 63 features, kernel expects 64``.
"""

import inspect
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import check_array, check_cotangent, check_floating, unchecked
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.initializers import lecun_normal, zeros
from purenn.ops import activations, linear
from purenn.typing import Array, Key, Params, Pullback, Shape

State: TypeAlias = dict[str, Any]
"""Nested dict of what a layer remembers without training it, such as running statistics."""


class Layer(NamedTuple):
    """A layer, or a whole model.

    Attributes:
        init: ``(key, input_shape, dtype=float32) -> (params, state, output_shape)``. Shapes are
            those of one example, without the batch dimension: (64,) -> (10,).
        forward: ``(params, state, x) -> y``, for inference. The first dimension of ``x`` is the
            batch.
        vjp: ``(params, state, x, key=None) -> (y, pullback, new_state)``, for training, with the
            contract of ``jax.vjp(..., has_aux=True)``. ``key`` drives whatever is random.
            ``pullback(dy, *, input_cotangent=True) -> (dparams, dx)``; without the input
            cotangent ``dx`` is ``None``, and no work is spent on it.
        stochastic: Whether ``vjp`` needs its key; no key is derived for a layer that does not.

    All three raise ShapeError, DtypeError, DomainError or TreeError for what does not fit.
    """

    init: Callable[..., tuple[Params, State, Shape]]
    forward: Callable[[Params, State, Array], Array]
    vjp: Callable[..., tuple[Array, Pullback, State]]
    stochastic: bool = False


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


def activation(rule: Callable[..., Array], **static: Any) -> Layer:
    """Turn a rule of one array that keeps its shape into a layer without parameters.

    >>> leaky = activation(activations.leaky_relu, negative_slope=0.2)

    Raises:
        TypeError: ``rule`` does not take ``static``.
        DomainError: no ``<name>_vjp`` stands beside ``rule`` in its module.
    """
    apply, apply_vjp = unchecked(rule), unchecked(vjp_of(rule))
    inspect.signature(rule).bind(None, **static)
    name = rule.__name__

    def shape(input_shape: Shape) -> Shape:
        return input_shape

    def forward(x: Array) -> Array:
        return apply(x, **static)

    def vjp(x: Array) -> tuple[Array, Callable[[Array], Array]]:
        y, pullback = apply_vjp(x, **static)
        return y, lambda dy: pullback(dy)[0]

    return _without_parameters(name, shape, forward, vjp)


def serial(*unnamed: Layer, **layers: Layer) -> Layer:
    """One layer after the other, each under its name.

    Parameters and state: the entries of the layers that have any, by name. The key is split, one
    for each layer in turn, where a layer needs one.

    Raises:
        DomainError: there are no layers.
        TypeError: an argument has no name or is no Layer.
    """
    if unnamed:
        raise TypeError("serial: a layer has no name; write serial(hidden=dense(128), act=relu)")
    if not layers:
        raise DomainError("serial: no layers, expected at least one")
    for name, layer in layers.items():
        if not isinstance(layer, Layer):
            raise TypeError(
                f"serial: {name} is a {type(layer).__name__}, expected a Layer "
                "(activation(rule) makes one from a rule)"
            )
    stochastic = any(layer.stochastic for layer in layers.values())

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        params: Params = {}
        state: State = {}
        shape = input_shape
        keys = random.split(key, len(layers))
        try:
            for (name, layer), its_key in zip(layers.items(), keys, strict=True):
                its_params, its_state, shape = layer.init(its_key, shape, dtype)
                params |= {name: its_params} if its_params else {}
                state |= {name: its_state} if its_state else {}
        except _REFUSED as error:
            raise _inside(name, error) from None
        return params, state, shape

    def forward(params: Params, state: State, x: Array) -> Array:
        _check_names(params, state, layers)
        try:
            for name, layer in layers.items():
                x = layer.forward(params.get(name, {}), state.get(name, {}), x)
        except _REFUSED as error:
            raise _inside(name, error) from None
        return x

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        _check_names(params, state, layers)
        pullbacks: dict[str, Pullback] = {}
        states: State = {}
        keys: Iterable[Key | None] = [None] * len(layers)
        if stochastic and key is not None:
            keys = random.split(key, len(layers))
        try:
            for (name, layer), its_key in zip(layers.items(), keys, strict=True):
                x, pullbacks[name], states[name] = layer.vjp(
                    params.get(name, {}), state.get(name, {}), x, its_key
                )
        except _REFUSED as error:
            raise _inside(name, error) from None

        # Without the input cotangent the way back ends at the first layer that has parameters.
        first = next((name for name in layers if params.get(name)), None)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            grads: Params = {}
            try:
                for name in reversed(pullbacks):
                    last = name == first and not input_cotangent
                    grads[name], dy = pullbacks[name](dy, input_cotangent=not last)
                    if last:
                        break
            except _REFUSED as error:
                raise _inside(name, error) from None
            dparams = {name: grads.get(name, {}) for name in params}
            return dparams, dy if input_cotangent else None

        return x, pullback, {name: states[name] for name in state}

    return Layer(init, forward, vjp, stochastic)


def residual(layer: Layer) -> Layer:
    """Add the input to the output: y = x + layer(x), with the parameters of ``layer``.

    x is used twice, so its cotangent is a sum: dx = dy + (dlayer/dx)ᵀdy.

    Raises, when the returned functions are called:
        ShapeError: ``layer`` changes the shape.
    """

    def check(before: Shape, after: Shape) -> None:
        if before != after:
            raise ShapeError(
                f"residual: the layer turns shape {before} into {after}; "
                "x + layer(x) needs equal shapes"
            )

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        params, state, output_shape = layer.init(key, input_shape, dtype)
        check(input_shape, output_shape)
        return params, state, output_shape

    def forward(params: Params, state: State, x: Array) -> Array:
        y = layer.forward(params, state, x)
        check(x.shape, y.shape)
        return x + y

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        y, through, new_state = layer.vjp(params, state, x, key)
        check(x.shape, y.shape)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            dparams, dx = through(dy, input_cotangent=input_cotangent)
            return dparams, dy + dx if input_cotangent else None

        return x + y, pullback, new_state

    return Layer(init, forward, vjp, layer.stochastic)


def vjp_of(rule: Callable[..., Array]) -> Callable[..., tuple[Array, Pullback]]:
    """``f_vjp`` for a rule ``f``: the function of that name in the module of ``f``.

    Raises:
        DomainError: there is none.
    """
    base = getattr(rule, "__name__", None)
    if base is None:
        raise DomainError(f"{rule!r} has no name by which a derivative could be found")
    found = getattr(sys.modules[rule.__module__], f"{base}_vjp", None)
    if found is None:
        raise DomainError(f"{base} has no derivative: {rule.__module__}.{base}_vjp does not exist")
    return found  # type: ignore[no-any-return]


def _without_parameters(
    name: str,
    shape: Callable[[Shape], Shape],
    apply: Callable[[Array], Array],
    apply_vjp: Callable[[Array], tuple[Array, Callable[[Array], Array]]],
) -> Layer:
    """Make a layer of a function of x that does ``shape`` to the shape of an example."""

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        return {}, {}, shape(input_shape)

    def check(params: Params, x: Array) -> None:
        if params:
            raise TreeError(f"{name}: params have {[*params]}, expected none")
        _check_input(name, x)

    def forward(params: Params, state: State, x: Array) -> Array:
        check(params, x)
        return apply(x)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        check(params, x)
        y, through = apply_vjp(x)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            check_cotangent(name, dy, y)
            return {}, through(dy) if input_cotangent else None

        return y, pullback, state

    return Layer(init, forward, vjp)


def _flatten(x: Array) -> Array:
    return x.reshape(len(x), math.prod(x.shape[1:]))


relu = activation(activations.relu)
leaky_relu = activation(activations.leaky_relu)
sigmoid = activation(activations.sigmoid)
tanh = activation(activations.tanh)
softplus = activation(activations.softplus)
gelu = activation(activations.gelu)
silu = activation(activations.silu)
softmax = activation(activations.softmax)
log_softmax = activation(activations.log_softmax)

flatten = _without_parameters(
    "flatten",
    lambda shape: (math.prod(shape),),
    _flatten,
    lambda x: (_flatten(x), lambda dy: dy.reshape(x.shape)),
)
"""All dimensions of an example become one: (28, 28, 1) -> (784,)."""

_REFUSED = (ShapeError, DtypeError, DomainError, TreeError)


def _inside(name: str, error: Exception) -> Exception:
    """Say the same refusal of the layer ``name``."""
    return type(error)(f"{name}: {error}")


def _check_names(params: Any, state: Any, layers: dict[str, Layer]) -> None:
    """Refuse entries that belong to no layer; a layer misses its own ones itself."""
    for what, tree in (("params", params), ("state", state)):
        if not isinstance(tree, dict):
            raise TreeError(f"{what} is a {type(tree).__name__}, expected a dict")
        if not tree.keys() <= layers.keys():
            unknown = [name for name in tree if name not in layers]
            raise TreeError(f"{what} have {unknown}, expected names of {[*layers]}")


def _check_input(name: str, x: Array) -> None:
    check_array(name, "x", x)
    check_floating(name, "x", x)
    if x.ndim == 0:
        raise ShapeError(f"{name}: x has shape (), expected a batch dimension first")


def _check_dense(params: Params, x: Array, features: int) -> None:
    if not isinstance(params, dict):
        raise TreeError(f"dense: params is a {type(params).__name__}, expected a dict")
    if len(params) != 2 or "kernel" not in params or "bias" not in params:
        raise TreeError(f"dense: params have {[*params]}, expected ['kernel', 'bias']")
    kernel, bias = params["kernel"], params["bias"]
    check_array("dense", "kernel", kernel)
    check_array("dense", "bias", bias)
    _check_input("dense", x)
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
