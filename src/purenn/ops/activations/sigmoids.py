"""Activations that saturate, and their integrals.

They are evaluated at n = −|x| and reflected: on the negative half axis exponentials do not
overflow, and what is small there keeps its digits. softplus obeys f(x) = x + f(−x), hence
f′(x) = 1 − f′(−x).
"""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import bell, narrow, negative_half, scaled_sigmoid, widen
from purenn.typing import Array, Float, Pullback


@rule
def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Logistic function σ(x) = 1/(1 + e⁻ˣ), without overflow for either sign."""
    return narrow(scaled_sigmoid(1.0, x), x)


@rule
def sigmoid_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """σ with its pullback.

    σ′(x) = σ(x)·σ(−x) = eⁿ/(1 + eⁿ)² with n = −|x|.
    The textbook y·(1 − y) loses every digit once y rounds to 1 (float32, x = 17: it gives 0
    where the truth is 4.1e-8).
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(bell(widen(dy), negative_half(x)), x),)

    return unchecked(sigmoid)(x), pullback


@rule
def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Hyperbolic tangent."""
    return narrow(np.tanh(widen(x)), x)


@rule
def tanh_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """Tanh with its pullback.

    tanh(x) = 2σ(2x) − 1, so tanh′(x) = 4σ′(2x) = 1/cosh²(x).
    The textbook 1 − y² is 0 from |x| = 9 on in float32, where the truth is 6e-8.
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(4 * bell(widen(dy), 2 * negative_half(x)), x),)

    return unchecked(tanh)(x), pullback


@rule
def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + eˣ) = max(x, 0) + log1p(e⁻ˡˣˡ), without overflow."""
    wide = widen(x)
    return narrow(np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(wide))), x)


@rule
def softplus_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """Softplus with its pullback: softplus′(x) = eˣ/(1 + eˣ) = σ(x)."""

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(scaled_sigmoid(widen(dy), x), x),)

    return unchecked(softplus)(x), pullback
