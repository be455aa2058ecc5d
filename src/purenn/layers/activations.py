"""Layers of activation functions."""

import inspect
from collections.abc import Callable
from typing import Any

from purenn.contract import unchecked
from purenn.layers.core import Layer, vjp_of, without_parameters
from purenn.ops import activations
from purenn.typing import Array, Shape


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

    return without_parameters(name, shape, forward, vjp)


relu = activation(activations.relu)
leaky_relu = activation(activations.leaky_relu)
sigmoid = activation(activations.sigmoid)
tanh = activation(activations.tanh)
softplus = activation(activations.softplus)
gelu = activation(activations.gelu)
silu = activation(activations.silu)
softmax = activation(activations.softmax)
log_softmax = activation(activations.log_softmax)
