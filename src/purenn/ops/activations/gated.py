"""Activations that multiply a number by a gate between 0 and 1.

They are evaluated at n = −|x|, where exponentials do not overflow. A slope that vanishes at a
root r is written as h(n) − h(r), term by term: each term is then a multiple of n − r.
"""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.errors import ShapeError
from purenn.ops._axes import axis_of
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import (
    decay,
    decay_of,
    narrow,
    negative_half,
    of_product,
    positive_part,
    quiet,
    scaled_sigmoid,
    scaled_sigmoid_slope,
    widen,
)
from purenn.typing import Array, Float, Pullback

__all__ = ["glu", "glu_vjp", "mish", "mish_vjp", "silu", "silu_vjp"]


@rule
@elementwise
def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x·σ(x), also called swish (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    silu(x) = max(x, 0) + silu(−|x|).
    """
    n = negative_half(x)
    left, e = decay_of(n, n)
    return narrow(widen(positive_part(x)) + left / (1 + e), x)


_SILU_ROOT = (-1.2784645427610737, -1.0946994183093437e-16)
_SILU_EXP_ROOT = 0.2784645427610738


@rule
@elementwise
def silu_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``silu`` with its pullback.

    silu′(n) = σ(n) + n·σ(n)·σ(−n) = σ′(n)·h(n) with h(n) = 1 + n + eⁿ, for n = −|x|.
    h cancels around its zero r = −1.278, so subtract h(r) = 0 term by term: with t = n − r,
    h(n) = t + eʳ·(eᵗ − 1), two terms of one sign. For x > 0, silu′(x) = 1 − silu′(−x).
    The usual form is 0 or of the wrong sign where x rounds next to r.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        wide, n = widen(dy), negative_half(x)
        t = (n - _SILU_ROOT[0]) - _SILU_ROOT[1]
        h = t + _SILU_EXP_ROOT * np.expm1(t)
        left = of_product(lambda scale: scaled_sigmoid_slope(scale, n), wide, h)
        return (narrow(np.where(x > 0, wide - left, left), x),)

    return unchecked(silu)(x), pullback


@rule
@elementwise
def mish(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x·tanh(softplus(x)) (Misra 2019, arXiv:1908.08681).

    tanh(log(1 + eˣ)) is rational in e = e⁻ˡˣˡ: (1 + 2e)/(1 + 2e + 2e²) for x > 0, all terms
    positive, else e(2 + e)/(2 + 2e + e²) = e − e·e(1 + e)/(2 + 2e + e²): what is subtracted is at
    most 2/5 of e, and so are its roundings.
    """
    n = negative_half(x)
    left, e = decay_of(n, n)
    left -= left * (e * (1 + e) / (2 + 2 * e + e * e))
    right = widen(x) * ((1 + 2 * e) / (1 + 2 * e + 2 * e * e))
    return narrow(np.where(x > 0, right, left), x)


_MISH_ROOT = (-1.1924312145154952, -4.8484829848031044e-17)
_MISH_EXP_ROOT = 0.3034825352815289


@rule
@elementwise
def mish_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``mish`` with its pullback.

    With e = eⁿ, n = −|x|, and d = 2 + 2e + e², mish′(n) = e·h(n)/d² with
    h(n) = 4 + 6e + 4e² + e³ + 4n(1 + e). h cancels around its zero r = −1.192, so subtract
    h(r) = 0 term by term: with t = n − r and δ = e − eʳ = eʳ·(eᵗ − 1),
    h(n) = 4t(1 + e) + δ·(e² + e·eʳ + e²ʳ + 4(e + eʳ) + 6 + 4r), two terms of one sign.
    For x > 0, with c = 1 + 2e + 2e², mish′(x) = (1 + 2e)/c + 4xe²(1 + e)/c², both positive.
    The textbook tanh(s) + x·σ(x)·(1 − tanh²(s)), s = softplus(x), is noise next to r.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        wide, n = widen(dy), negative_half(x)
        e, at_root = np.exp(n), _MISH_EXP_ROOT
        t = (n - _MISH_ROOT[0]) - _MISH_ROOT[1]
        slope = e * e + e * at_root + at_root**2 + 4 * (e + at_root) + (6 + 4 * _MISH_ROOT[0])
        h = 4 * t * (1 + e) + at_root * np.expm1(t) * slope
        left = of_product(lambda scale: decay(scale, n), wide, h) / np.square(2 + 2 * e + e * e)
        c = 1 + 2 * e + 2 * e * e
        right = wide * ((1 + 2 * e) / c - 4 * n * e * e * (1 + e) / np.square(c))
        return (narrow(np.where(x > 0, right, left), x),)

    return unchecked(mish)(x), pullback


@rule
def glu(x: Float[Array, "*batch features"], *, axis: int = -1) -> Float[Array, "..."]:
    """a·σ(b), a and b the two halves of x along ``axis`` (Dauphin et al. 2016, arXiv:1612.08083).

    Raises ShapeError where x has no such axis or its size is odd, DtypeError where ``axis`` is no
    int.
    """
    a, b = _halves(x, axis)
    return narrow(scaled_sigmoid(a, b), x)


@rule
def glu_vjp(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> tuple[Float[Array, "..."], Pullback]:
    """``glu`` with its pullback.

    da = σ(b)·dy and db = a·σ′(b)·dy, side by side along ``axis``; it has no kink.
    σ′(b) = eⁿ/(1 + eⁿ)² with n = −|b|, as for ``sigmoid``; the textbook
    σ·(1 − σ) is 0 from b = 17 on in float32.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        a, b = _halves(x, axis)
        wide = widen(dy)
        n = negative_half(b)
        db = of_product(lambda scale: scaled_sigmoid_slope(scale, n), wide, a)
        return (narrow(np.concatenate([scaled_sigmoid(wide, b), db], axis), x),)

    return unchecked(glu)(x, axis=axis), pullback


def _halves(x: Array, axis: int) -> tuple[Array, Array]:
    along = axis_of("glu", x, axis)
    if x.shape[along] % 2:
        raise ShapeError(f"glu: x has shape {x.shape}, expected an even size along axis {axis}")
    a, b = np.split(widen(x), 2, along)
    return a, b
