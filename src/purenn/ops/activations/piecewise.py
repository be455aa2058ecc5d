"""Activations made of pieces, most of them straight."""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import at_least_single, narrow
from purenn.typing import Array, Float, Pullback


@rule
def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(x, 0)."""
    return narrow(np.maximum(x, np.zeros((), x.dtype)), x)


@rule
def relu_vjp(
    x: Float[Array, "*shape"],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """relu with its pullback.

    relu′(x) = 1 for x > 0, else 0. At the kink x = 0 the derivative is 0, as in ``jax.nn.relu``.
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(np.where(x > 0, dy, np.zeros((), dy.dtype)), dy),)

    return unchecked(relu)(x), pullback


@rule
def leaky_relu(
    x: Float[Array, "*shape"], *, negative_slope: float = 0.01
) -> Float[Array, "*shape"]:
    """x for x ≥ 0, else ``negative_slope``·x."""
    wide = at_least_single(x)
    return narrow(np.where(wide >= 0, wide, negative_slope * wide), x)


@rule
def leaky_relu_vjp(
    x: Float[Array, "*shape"], *, negative_slope: float = 0.01
) -> tuple[Float[Array, "*shape"], Pullback]:
    """leaky_relu with its pullback.

    The derivative is 1 for x ≥ 0, else ``negative_slope``; at the kink x = 0 it is 1, as in
    ``jax.nn.leaky_relu``.
    """

    def pullback(dy: Array) -> tuple[Array]:
        wide = at_least_single(dy)
        return (narrow(np.where(x >= 0, wide, negative_slope * wide), dy),)

    return unchecked(leaky_relu)(x, negative_slope=negative_slope), pullback
