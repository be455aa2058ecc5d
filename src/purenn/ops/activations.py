"""Activation functions, elementwise or along an axis.

The smooth ones are evaluated at n = −|x| and reflected: on the negative half axis exponentials
do not overflow, and what is small there keeps its digits. softplus, silu and gelu obey
f(x) = x + f(−x), hence f′(x) = 1 − f′(−x).
"""

from functools import cache

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops import _softmax
from purenn.ops._numerics import (
    at_least_single,
    bell,
    decay,
    narrow,
    negative_half,
    scaled_sigmoid,
    widen,
)
from purenn.typing import Annotated, Array, Float, OneOf, Pullback, Values


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


@rule
def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x·σ(x), also called swish (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    silu(x) = max(x, 0) + silu(−|x|).
    """
    n = negative_half(x)
    return narrow(np.maximum(widen(x), 0) + decay(n, n) / (1 + np.exp(n)), x)


# The zero of silu′, 1 + r + e^r = 0, in two parts: r is irrational and x − r must be sharp.
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


@rule
def gelu(
    x: Float[Array, "*shape"], *, approximate: Annotated[bool, OneOf(False, True)] = True
) -> Float[Array, "*shape"]:
    """x·Φ(x), Φ the normal distribution function (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    ``approximate=True``, the default of ``jax.nn.gelu``, is x·σ(v) with
    v = 2√(2/π)·(x + 0.044715x³), which is ½x(1 + tanh(v/2)); else Φ itself.
    """
    if approximate:
        n = negative_half(x, _GELU_TANH_FAR)
        coarse, fine = _gelu_tanh_exponent(n)
        left = decay(n, coarse, fine) / (1 + np.exp(coarse + fine))
    else:
        n = negative_half(x, _GELU_FAR)
        left = _scaled_density(n * _mills(n)[0], n)
    return narrow(np.maximum(widen(x), 0) + left, x)


@rule
def gelu_vjp(
    x: Float[Array, "*shape"], *, approximate: Annotated[bool, OneOf(False, True)] = True
) -> tuple[Float[Array, "*shape"], Pullback]:
    """Gelu with its pullback, on n = −|x|; for x > 0, gelu′(x) = 1 − gelu′(−x).

    Exact: gelu′(n) = Φ(n) + n·φ(n), φ the density. Both are multiples of e^(−n²/2), taken out:
    gelu′(n) = φ(n)·(M(n) + n), M = Φ/φ Mills' ratio, which erfcx gives without underflow.
    Around the zero r = −0.752 M + n cancels; there M comes from its Taylor series about r, whose
    coefficients follow from M′ = 1 + n·M and M(r) = −r.

    Approximate: with q = n·v′(n), gelu′(n) = σ(v) + q·σ′(v) = σ′(v)·h(n), h(n) = 1 + q + eᵛ.
    Around its zero r = −0.752 h is written as h(n) − h(r), as for silu:
    h(n) = (q(n) − q(r)) + e^v(r)·expm1(v(n) − v(r)), each difference a multiple of n − r.
    """
    slope = _gelu_tanh_slope if approximate else _gelu_slope

    def pullback(dy: Array) -> tuple[Array]:
        wide = widen(dy)
        left = slope(wide, x)
        return (narrow(np.where(x > 0, wide - left, left), x),)

    return unchecked(gelu)(x, approximate=approximate), pullback


@rule
def softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    """eˣ / Σeˣ along ``axis``, with the maximum subtracted first: no overflow.

    Raises ShapeError where ``axis`` has size 0: a distribution over nothing.
    """
    return narrow(_softmax.softmax(widen(x), axis), x)


@rule
def softmax_vjp(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """Softmax with its pullback.

    ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so dx = y⊙(dy − ⟨y, dy⟩). A constant added to dy changes nothing.
    Where one y is almost 1, ⟨y, dy⟩ is almost its dy and the difference cancels: that dy is
    subtracted from all first.
    """
    y = _softmax.softmax(widen(x), axis)

    def pullback(dy: Array) -> tuple[Array]:
        wide = widen(dy)
        shift = np.sum(np.where(y > 0.5, wide, 0), axis=axis, keepdims=True)
        shifted = wide - shift
        mean = np.sum(y * shifted, axis=axis, keepdims=True)
        return (narrow(y * (shifted - mean), x),)

    return narrow(y.copy(), x), pullback


@rule
def log_softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    """x − log Σeˣ along ``axis``.

    With m the largest entry and s = Σ e^(x − m) over the others, x − m − log1p(s): both terms
    are ≤ 0, and the result at m keeps its digits where log(1 + s) is 0.

    Raises ShapeError where ``axis`` has size 0.
    """
    return narrow(_softmax.log_softmax(widen(x), axis).log_p, x)


@rule
def log_softmax_vjp(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """log_softmax with its pullback.

    ∂yᵢ/∂xⱼ = δᵢⱼ − pⱼ with p = softmax(x), so dx = dy − p·Σdy.
    At the largest p, which may be almost 1, the two terms cancel. Written with the rest
    apart, dx = (1 − p)·dy − p·Σ(other dy), and 1 − p = s/(1 + s), they do not.
    """
    y = _softmax.log_softmax(widen(x), axis)

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(_softmax.log_softmax_pullback(widen(dy), y, axis), x),)

    return narrow(y.log_p, x), pullback


# v = n·(A + B·n²) with A = 2√(2/π) and B = 0.044715·A. The first parts are multiples of 2⁻²⁰,
# so that their products with multiples of 2⁻⁷ below 2⁵ are exact.
_A = (1.595768928527832, 1.930778986805098e-07)
_B = (0.07135486602783203, -4.975523178247366e-08)
_GELU_TANH_FAR = 30.0
_GELU_TANH_ROOT = (-0.7524614220710163, 3.635560509207687e-17)
_GELU_TANH_EXP_ROOT = 0.29195521191476714  # e^v(r)


def _gelu_tanh_exponent(n: Values) -> tuple[Values, Values]:
    """v(n) as a coarse and a fine part.

    The relative error of eᵛ is the absolute error of v, 350 ULP at v = −700 if v is rounded.
    So v is exact at the nearest point c of a grid, and v(n) − v(c) is small.
    """
    c = np.rint(n * 128) / 128
    coarse = c * (_A[0] + _B[0] * c * c)
    slope = (_A[0] + _A[1]) + (_B[0] + _B[1]) * (n * n + n * c + c * c)
    return coarse, c * (_A[1] + _B[1] * c * c) + (n - c) * slope


def _gelu_tanh_slope(scale: Values, x: Values) -> Values:
    """scale·gelu′(−|x|), approximate form."""
    n = negative_half(x, _GELU_TANH_FAR)
    r = _GELU_TANH_ROOT[0]
    t = (n - r) - _GELU_TANH_ROOT[1]
    a, b = _A[0] + _A[1], (_B[0] + _B[1]) * (n * n + n * r + r * r)
    h = t * (a + 3 * b) + _GELU_TANH_EXP_ROOT * np.expm1(t * (a + b))
    coarse, fine = _gelu_tanh_exponent(n)
    return np.asarray(decay(scale * h, coarse, fine) / np.square(1 + np.exp(coarse + fine)))


_GELU_FAR = 60.0
_GELU_ROOT = (-0.7517915246935645, 1.4956759177009883e-17)


def _gelu_slope(scale: Values, x: Values) -> Values:
    """scale·gelu′(−|x|), exact form."""
    n = negative_half(x, _GELU_FAR)
    return _scaled_density(scale * _mills(n)[1], n)


def _scaled_density(scale: Values, n: Values) -> Values:
    """scale·φ(n) = scale·e^(−n²/2)/√(2π); n² is exact at the nearest point of a grid."""
    c = np.rint(n * 256) / 256
    return decay(scale * 0.3989422804014327, c * c * -0.5, (n - c) * (n + c) * -0.5)


def _mills(n: Values) -> tuple[Values, Values]:
    """Mills' ratio M = Φ(n)/φ(n) and M + n, for n ≤ 0.

    M = √(π/2)·erfcx(−n/√2) does not underflow. Down to −1.5 M + n is summed first, by its Taylor
    series t·(a₁ + 1 + a₂t + …) about the zero r, t = n − r.
    """
    from scipy.special import erfcx

    n = np.asarray(n)
    ratio, excess = np.empty_like(n), np.empty_like(n)
    near = n > -1.5
    t = (n[near] - _GELU_ROOT[0]) - _GELU_ROOT[1]
    series = np.zeros_like(t)
    for coefficient in reversed(_mills_series()):
        series = series * t + coefficient
    excess[near] = series * t
    ratio[near] = excess[near] - n[near]
    far = n[~near]
    ratio[~near] = 1.2533141373155003 * erfcx(far * -0.7071067811865476)
    excess[~near] = ratio[~near] + far
    return ratio, excess


@cache
def _mills_series() -> list[float]:
    """a₁ + 1, a₂, a₃, …: from M′ = 1 + n·M follows (k + 1)·aₖ₊₁ = r·aₖ + aₖ₋₁, and M(r) = −r."""
    r = _GELU_ROOT[0]
    a = [-r, 1 - r * r]
    for k in range(1, 28):
        a.append((r * a[k] + a[k - 1]) / (k + 1))
    return [a[1] + 1, *a[2:]]
