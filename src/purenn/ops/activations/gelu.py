"""The Gaussian error linear unit, evaluated at n = −|x| and reflected: f(x) = x + f(−x)."""

from functools import cache

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import (
    decay,
    decay_of,
    is_double,
    narrow,
    negative_half,
    of_product,
    positive_part,
    quiet,
    widen,
)
from purenn.typing import Annotated, Array, Float, OneOf, Pullback, Values

__all__ = ["gelu", "gelu_vjp"]


@rule
@elementwise
def gelu(
    x: Float[Array, "*shape"], *, approximate: Annotated[bool, OneOf(False, True)] = True
) -> Float[Array, "*shape"]:
    """x·Φ(x), Φ the normal distribution function (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    ``approximate=True``, the default of ``jax.nn.gelu``, is x·σ(v) with
    v = 2√(2/π)·(x + 0.044715x³), which is ½x(1 + tanh(v/2)); else Φ itself.
    """
    if approximate:
        n = negative_half(x, _GELU_TANH_FAR)
        left, e = _gelu_tanh_decay(n, n, is_double(x))
        left = left / (1 + e)
    else:
        n = negative_half(x, _GELU_FAR)
        left = _scaled_density(n * _mills(n)[0], n)
    return narrow(widen(positive_part(x)) + left, x)


@rule
@elementwise
def gelu_vjp(
    x: Float[Array, "*shape"], *, approximate: Annotated[bool, OneOf(False, True)] = True
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``gelu`` with its pullback.

    On n = −|x|; for x > 0, gelu′(x) = 1 − gelu′(−x). The textbook forms are noise next to the
    zero of the derivative, and 0 where φ(n) or σ′(v) underflows before the product does.

    Exact: gelu′(n) = Φ(n) + n·φ(n), φ the density. Both are multiples of e^(−n²/2), taken out:
    gelu′(n) = φ(n)·(M(n) + n), M = Φ/φ Mills' ratio, which erfcx gives without underflow.
    Around the zero r = −0.752 M + n cancels; there M comes from its Taylor series about r, whose
    coefficients follow from M′ = 1 + n·M and M(r) = −r.

    Approximate: with q = n·v′(n), gelu′(n) = σ(v) + q·σ′(v) = σ′(v)·h(n), h(n) = 1 + q + eᵛ.
    Around its zero r = −0.752 h is written as h(n) − h(r), as for silu:
    h(n) = (q(n) − q(r)) + e^v(r)·expm1(v(n) − v(r)), each difference a multiple of n − r.
    """
    slope = _gelu_tanh_slope if approximate else _gelu_slope

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        wide = widen(dy)
        left = slope(wide, x)
        return (narrow(np.where(x > 0, wide - left, left), x),)

    return unchecked(gelu)(x, approximate=approximate), pullback


# v = n·(A + B·n²) with A = 2√(2/π) and B = 0.044715·A. The first parts are multiples of 2⁻²⁰,
# so that their products with multiples of 2⁻⁷ below 2⁵ are exact.
_A = (1.595768928527832, 1.930778986805098e-07)
_B = (0.07135486602783203, -4.975523178247366e-08)
_GELU_TANH_FAR = 30.0
_GELU_TANH_ROOT = (-0.7524614220710163, 3.635560509207687e-17)
_GELU_TANH_EXP_ROOT = 0.29195521191476714  # e^v(r)


def _gelu_tanh_decay(scale: Values, n: Values, sharp: bool) -> tuple[Values, Values]:
    """scale·eᵛ and eᵛ for v(n). Only ``sharp`` has all digits of float64.

    The relative error of eᵛ is the absolute error of v, 350 ULP at v = −700 if v is rounded.
    So v is exact at the nearest point c of a grid, and v(n) − v(c) is small.
    """
    a, b = _A[0] + _A[1], _B[0] + _B[1]
    if not sharp:
        return decay_of(scale, n * (a + b * (n * n)))
    c = np.rint(n * 128) / 128
    coarse = c * (_A[0] + _B[0] * c * c)
    fine = c * (_A[1] + _B[1] * c * c) + (n - c) * (a + b * (n * n + n * c + c * c))
    return decay(scale, coarse, fine), np.exp(coarse + fine)


def _gelu_tanh_slope(scale: Values, x: Values) -> Values:
    """scale·gelu′(−|x|), approximate form."""
    n = negative_half(x, _GELU_TANH_FAR)
    r = _GELU_TANH_ROOT[0]
    t = (n - r) - _GELU_TANH_ROOT[1]
    a, b = _A[0] + _A[1], (_B[0] + _B[1]) * (n * n + n * r + r * r)
    h = t * (a + 3 * b) + _GELU_TANH_EXP_ROOT * np.expm1(t * (a + b))

    def scaled(scale: Values) -> Values:
        left, e = _gelu_tanh_decay(scale, n, is_double(x))
        return np.asarray(left / np.square(1 + e))

    return of_product(scaled, scale, h)


_GELU_FAR = 60.0
_GELU_ROOT = (-0.7517915246935645, 1.4956759177009883e-17)


def _gelu_slope(scale: Values, x: Values) -> Values:
    """scale·gelu′(−|x|), exact form."""
    n = negative_half(x, _GELU_FAR)
    return of_product(lambda scale: _scaled_density(scale, n), scale, _mills(n)[1])


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
