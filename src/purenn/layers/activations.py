"""Layers of activation functions."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import check_keys, check_number, unchecked
from purenn.errors import ShapeError
from purenn.layers.core import Layer, State, check_input, check_input_shape, of_rule, vjp_of
from purenn.ops import activations
from purenn.typing import Array, Key, Params, Pullback, Shape


def activation(rule: Callable[..., Array], **static: Any) -> Layer:
    """Turn a rule of one array that keeps its shape into a layer without parameters.

    >>> leaky = activation(activations.leaky_relu, negative_slope=0.2)

    Raises:
        TypeError: ``rule`` does not take ``static``.
        DomainError: no ``<name>_vjp`` stands beside ``rule`` in its module, or ``rule`` refuses
            the value of ``static``.
        DtypeError: ``rule`` refuses its type.
    """
    _check_static(rule, static)
    return of_rule(rule, lambda input_shape: input_shape, **static)


def _check_static(rule: Callable[..., Array], static: dict[str, Any]) -> None:
    """Refuse, when the layer is made, what ``rule`` would refuse of any x."""
    inspect.signature(rule).bind(None, **static)
    if static:
        with suppress(ShapeError):  # that of a real x is another
            unchecked(rule)(np.zeros((1, 1)), **static)


def _fewer_features(rule: Callable[..., Array], **static: Any) -> Layer:
    """The layer of a rule that makes fewer features of those along the last axis."""

    def shape(input_shape: Shape) -> Shape:
        return tuple(unchecked(rule)(np.zeros(input_shape), **static).shape)

    _check_static(rule, static)
    layer = of_rule(rule, shape, **static)

    def check(x: Array) -> None:
        if np.ndim(x) < 2:
            raise ShapeError(
                f"{rule.__name__}: x has shape {np.shape(x)}, expected (batch, ..., features)"
            )

    def forward(params: Params, state: State, x: Array) -> Array:
        check(x)
        return layer.forward(params, state, x)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        check(x)
        return layer.vjp(params, state, x, key)

    return Layer(layer.init, forward, vjp)


def _trained(rule: Callable[..., Array], leaf: str, first: float) -> Layer:
    """The layer of a rule of x and a number that is trained, ``leaf``."""
    name, rule_vjp = rule.__name__, vjp_of(rule)
    check_number(name, f"{leaf}_init", first)

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        check_input_shape(name, input_shape)
        _, kind = random.admit(name, key, (), dtype)
        return {leaf: np.full((), first, kind)}, {}, input_shape

    def check(params: Any, x: Array) -> None:
        check_keys(name, "params", params, (leaf,))
        check_input(name, x)

    def forward(params: Params, state: State, x: Array) -> Array:
        check(params, x)
        return rule(x, params[leaf])

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        check(params, x)
        y, through = rule_vjp(x, params[leaf])

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            dx, dleaf = through(dy)
            return {leaf: dleaf}, dx if input_cotangent else None

        return y, pullback, state

    return Layer(init, forward, vjp)


def prelu(negative_slope_init: float | int = 0.01) -> Layer:
    """x for x ≥ 0, else a·x with a trained slope a, as ``flax.linen.PReLU``.

    Parameters: ``negative_slope`` a, one number; an array with one per feature fits too.

    Raises DomainError where ``negative_slope_init`` is not finite, DtypeError where no number.
    """
    return _trained(activations.prelu, "negative_slope", negative_slope_init)


def soft_exponential(alpha_init: float | int = 0.0) -> Layer:
    """A logarithm, the identity or an exponential, by a trained α; the identity to begin with.

    Parameters: ``alpha`` α, one number.

    Raises DomainError where ``alpha_init`` is not finite, DtypeError where no number.
    """
    return _trained(activations.soft_exponential, "alpha", alpha_init)


def eru(r: float | int) -> Layer:
    """Exponential root unit; in front of it belong weights of ``initializers.eru_normal(r)``.

    A high ``r`` is meant for early layers, a low one for late ones.

    Raises DomainError where ``r`` is not from 0.001 to 1000, DtypeError where it is no number.
    """
    return activation(activations.eru, r=r)


def oru(r: float | int) -> Layer:
    """Odd root unit; in front of it belong weights of ``initializers.oru_normal(r)``.

    What is raised is that of :func:`eru`.
    """
    return activation(activations.oru, r=r)


def maxout(num_units: int) -> Layer:
    """The largest of the pieces of each unit: (…, units·pieces) -> (…, units).

    Raises DomainError where ``num_units`` is not positive, DtypeError where it is no int.
    """
    return _fewer_features(activations.maxout, num_units=num_units)


glu = _fewer_features(activations.glu)
"""One half of the features, gated by the other: (…, 2n) -> (…, n)."""

bipolar_relu = activation(activations.bipolar_relu)
celu = activation(activations.celu)
elu = activation(activations.elu)
gelu = activation(activations.gelu)
hard_sigmoid = activation(activations.hard_sigmoid)
hard_silu = hard_swish = activation(activations.hard_silu)
hard_tanh = activation(activations.hard_tanh)
heaviside = activation(activations.heaviside)
identity = activation(activations.identity)
leaky_relu = activation(activations.leaky_relu)
log_sigmoid = activation(activations.log_sigmoid)
log_softmax = activation(activations.log_softmax)
mish = activation(activations.mish)
relu = activation(activations.relu)
relu6 = activation(activations.relu6)
selu = activation(activations.selu)
sigmoid = activation(activations.sigmoid)
silu = swish = activation(activations.silu)
soft_sign = activation(activations.soft_sign)
softmax = activation(activations.softmax)
softplus = activation(activations.softplus)
sparse_plus = activation(activations.sparse_plus)
sparse_sigmoid = activation(activations.sparse_sigmoid)
sparsemax = activation(activations.sparsemax)
squareplus = activation(activations.squareplus)
standardize = activation(activations.standardize)
tanh = activation(activations.tanh)
