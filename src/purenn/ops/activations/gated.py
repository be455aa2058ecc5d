"""Activations that multiply a number by a gate: f(x) = x + f(−x), hence f′(x) = 1 − f′(−x)."""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import bell, decay, narrow, negative_half, widen
from purenn.typing import Array, Float, Pullback


@rule
def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x·σ(x), also called swish (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    silu(x) = max(x, 0) + silu(−|x|).
    """
    n = negative_half(x)
    return narrow(np.maximum(widen(x), 0) + decay(n, n) / (1 + np.exp(n)), x)


_SILU_ROOT = (-1.2784645427610737, -1.0946994183093437e-16)
_SILU_EXP_ROOT = 0.2784645427610738


@rule
def silu_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """Silu with its pullback.

    silu′(n) = σ(n) + n·σ(n)·σ(−n) = σ′(n)·h(n) with h(n) = 1 + n + eⁿ, for n = −|x|.
    h cancels around its zero r = −1.278, so subtract h(r) = 0 term by term: with t = n − r,
    h(n) = t + eʳ·(eᵗ − 1), two terms of one sign. For x > 0, silu′(x) = 1 − silu′(−x).
    The usual form is 0 or of the wrong sign where x rounds next to r.
    """

    def pullback(dy: Array) -> tuple[Array]:
        wide, n = widen(dy), negative_half(x)
        t = (n - _SILU_ROOT[0]) - _SILU_ROOT[1]
        left = bell(wide * (t + _SILU_EXP_ROOT * np.expm1(t)), n)
        return (narrow(np.where(x > 0, wide - left, left), x),)

    return unchecked(silu)(x), pullback
