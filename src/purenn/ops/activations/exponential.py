"""Activations that are exponentials on one side of 0, and the one that becomes a logarithm."""

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np

from purenn.contract import check_number, rule, unchecked
from purenn.errors import DomainError
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import (
    above_tangent_series,
    decay,
    difference,
    masked,
    narrow,
    negative_part,
    of_product,
    positive_part,
    product,
    quiet,
    unbroadcast,
    widen,
)
from purenn.typing import Annotated, Array, Float, OneOf, Pullback, Values

__all__ = [
    "celu",
    "celu_vjp",
    "elu",
    "elu_vjp",
    "selu",
    "selu_vjp",
    "soft_exponential",
    "soft_exponential_vjp",
]


@rule
@elementwise
def elu(
    x: Float[Array, "*shape"], *, alpha: Annotated[float | int, OneOf(1.0, 0.3, 5.0)] = 1.0
) -> Float[Array, "*shape"]:
    """x for x > 0, else α(eˣ − 1) (Clevert, Unterthiner & Hochreiter 2015, arXiv:1511.07289).

    Raises DomainError where ``alpha`` is not finite, DtypeError where it is no number.
    """
    alpha = np.float64(check_number("elu", "alpha", alpha))
    return narrow(_two_sided(x, 1.0, alpha), x)


@rule
@elementwise
def elu_vjp(
    x: Float[Array, "*shape"], *, alpha: Annotated[float | int, OneOf(1.0, 0.3, 5.0)] = 1.0
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``elu`` with its pullback.

    1 for x > 0, else αeˣ; α at the kink x = 0 (there is none if α = 1), as in ``jax.nn.elu``.
    The textbook y + α is 0 once y rounds to −α (float32, x = −17).
    """
    alpha = np.float64(check_number("elu", "alpha", alpha))

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(_two_sided_slope(dy, x, 1.0, alpha), x),)

    return unchecked(elu)(x, alpha=alpha), pullback


@rule
@elementwise
def selu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """λ·elu(x, α) with λ = 1.0507…, α = 1.6732… (Klambauer et al. 2017, arXiv:1706.02515).

    With these a standard normal x has an image of mean 0 and variance 1.
    """
    return narrow(_two_sided(x, _LAMBDA, _LAMBDA_ALPHA), x)


@rule
@elementwise
def selu_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``selu`` with its pullback.

    λ for x > 0, else λαeˣ; λα at the kink x = 0, as in ``jax.nn.selu``. The textbook y + λα is 0
    once y rounds to −λα (float32, x = −17).
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(_two_sided_slope(dy, x, _LAMBDA, _LAMBDA_ALPHA), x),)

    return unchecked(selu)(x), pullback


_LAMBDA = 1.0507009873554805
_LAMBDA_ALPHA = 1.7580993408473768


def _two_sided(x: Array, right: float, left: float) -> Values:
    """right·x above 0 and left·(eˣ − 1) below: there the other term is 0."""
    above, below = widen(positive_part(x)), widen(negative_part(x))
    with np.errstate(over="ignore"):
        return np.asarray(right * above + left * np.expm1(below))


def _two_sided_slope(dy: Array, x: Array, right: float, left: float) -> Values:
    wide, n = widen(dy), widen(negative_part(x))
    beside = of_product(lambda scale: decay(scale, n), wide, left)
    with np.errstate(over="ignore"):
        return np.where(x > 0, right * wide, beside)


@rule
@elementwise
def celu(
    x: Float[Array, "*shape"], *, alpha: Annotated[float | int, OneOf(1.0, 0.3, 5.0)] = 1.0
) -> Float[Array, "*shape"]:
    """max(x, 0) + α(e^(min(x, 0)/α) − 1), an elu without a kink (Barron 2017, arXiv:1704.07483).

    The second term is min(x, 0) where the quotient is too small for its digits.

    Raises DomainError where ``alpha`` is not positive and finite, DtypeError where it is no number.
    """
    alpha = check_number("celu", "alpha", alpha, gt=0)
    u, _ = _celu_exponent(x, alpha)
    wide = widen(x)
    return narrow(np.where(u > -1e-17, wide, alpha * np.expm1(u)), x)


@rule
@elementwise
def celu_vjp(
    x: Float[Array, "*shape"], *, alpha: Annotated[float | int, OneOf(1.0, 0.3, 5.0)] = 1.0
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``celu`` with its pullback.

    1 for x > 0, else e^(x/α), which is 1 at 0 too: there is no kink. The textbook form loses
    digits to rounding, as half an ULP of x/α is up to 350 ULP of the exponential: what rounding
    cut off the quotient enters too.
    """
    alpha = check_number("celu", "alpha", alpha, gt=0)
    u, lost = _celu_exponent(x, alpha)

    def pullback(dy: Array) -> tuple[Array]:
        wide = widen(dy)
        return (narrow(np.where(x > 0, wide, decay(wide, u, lost)), x),)

    return unchecked(celu)(x, alpha=alpha), pullback


def _celu_exponent(x: Array, alpha: float) -> tuple[Values, Values]:
    """min(x, 0)/α and what rounding cut off it; no lower than where e^(x/α) is 0 for certain."""
    n = np.clip(x.astype(np.float64, copy=False), -1500 * alpha, 0)
    u = n / alpha
    back, lost = product(u, alpha)
    return u, ((n - back) - lost) / alpha


@rule
def soft_exponential(x: Float[Array, "*shape"], alpha: Float[Array, ""]) -> Float[Array, "*shape"]:
    """A logarithm, the identity or an exponential, as ``alpha`` is trained to be.

    α > 0: (e^(αx) − 1)/α + α; α = 0: x; α < 0: −ln(1 − α(x + α))/α. That for −α is the inverse
    function of that for α (Godfrey & Gashler 2015, arXiv:1602.01321).

    Around its zero, near x = −α, every term is a multiple of x + α, to which a correction of
    the order α³ is added. 1 − α(x + α) is computed with what rounding cuts off it.

    Raises DomainError where α < 0 and x ≤ 1/α − α, there the logarithm is not defined, and
    ShapeError where ``alpha`` is not one number.
    """
    return narrow(_soft_exponential(x, alpha).y, x)


@rule
def soft_exponential_vjp(
    x: Float[Array, "*shape"], alpha: Float[Array, ""]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``soft_exponential`` with its pullback.

    With u = αx for α ≥ 0, else u = −αy, and e₂(u) = (u − 1 + e⁻ᵘ)/u², which is ½ at 0:
    α ≥ 0: ∂y/∂x = eᵘ and ∂y/∂α = x²·eᵘ·e₂(u) + 1;
    α < 0: ∂y/∂x = e⁻ᵘ = 1/(1 − α(x + α)) and ∂y/∂α = y²·e₂(u) + e⁻ᵘ.
    At α = 0 both are ∂y/∂α = x²/2 + 1: not 0, as where the identity is differentiated on its own.
    All terms are positive. Written with 1/α² the parts of e₂ cancel as u → 0, so around 0 it is
    summed by its Taylor series. dα = Σ ∂y/∂α·dy.
    """
    its = _soft_exponential(x, alpha)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        a, wide = float(alpha), widen(dy)
        close = np.abs(its.u) < 1
        scale = np.where(close, 1.0, abs(a) or 1.0)
        part, rest = wide * its.slope[0], its.slope[1]
        dx = masked(part * rest, wide != 0)
        larger, other, less = (wide, 1.0, dx) if a < 0 else (part, rest, wide)
        e2 = above_tangent_series(-np.clip(its.u, -1, 1))
        near = larger * other * its.length * its.length * e2
        far = larger / scale * (other * ((its.u - 1) / scale)) + less / scale / scale
        terms = masked(np.where(close, near, far) + less, wide != 0)
        return narrow(dx, x), narrow(unbroadcast(terms, ()), alpha)

    return narrow(its.y.copy(), x), pullback


class _Soft(NamedTuple):
    y: Values
    u: Values
    slope: tuple[Values, Values]
    """Two factors of ∂y/∂x, neither of which overflows before it does."""
    length: Values
    """x or y, of which ∂y/∂α has the square."""


def _soft_exponential(x: Array, alpha: Array) -> _Soft:
    a, wide = float(alpha), widen(x)
    return _logarithm(wide, -a) if a < 0 else _exponential(wide, a)


@quiet
def _exponential(x: Values, a: float) -> _Soft:
    """(eᵘ − 1)/α + α, u = αx. With t = α(x + α + c), where c is so that y = 0 at t = 0:

    y = (1 − α²)·(eᵗ − 1)/α while t is small, else (eᵘ − (1 − α²))/α.
    """
    most = float(np.finfo(x.dtype).max)
    far_out = 1.9999 * math.log(most)  # eᵘ/α is infinite beyond, the root of eᵘ not yet
    end = far_out / a if a * most > far_out else most
    bounded = np.clip(x, -end, end)
    mantissa, power = math.frexp(a)
    u, lost = product(np.ldexp(bounded, power), mantissa)
    root = np.where(x * a > far_out, np.inf, np.exp(u / 2) * (1 + lost / 2))
    c = _zero_correction(a)
    total, rest = difference(x, -a)
    total = (total + c[0]) + (rest + c[1])
    far = root * (root / (a or 1.0)) + (a - 1) * ((a + 1) / (a or 1.0))  # α² may overflow
    t = a * np.clip(total, -most, most)
    near = (1 - a) * (1 + a) * total * _ratio(np.expm1, np.clip(t, -1, 1))
    y = np.where((np.abs(t) < 1) & (a < 1), near, far)
    return _Soft(y, u, (root, root), bounded)


@quiet
def _logarithm(x: Values, b: float) -> _Soft:
    """ln(1 + w)/β with w = β(x − β), β = −α."""
    top, rest = difference(x, b)
    w, lost = product(top, b)
    total, more = difference(w, -1.0)
    total = total + (more + lost + b * rest)
    huge = np.isposinf(w)  # then 1 does not count, and w is kept as its factors
    total, other = np.where(huge, top, total), np.where(huge, b, 1.0)
    if np.any(total <= 0):
        where = tuple(int(i) for i in np.argwhere(total <= 0)[0])
        raise DomainError(
            f"soft_exponential: x{list(where) if where else ''} is {np.asarray(x)[where]}, "
            f"expected > 1/alpha − alpha = {b - 1 / b}"
        )
    near, small = np.abs(w) < 0.5, np.clip(w, -0.5, 0.5)
    u = np.where(near, np.log1p(small), np.log(total) + np.log(other))
    y = np.where(near, top * _ratio(np.log1p, small), u / b)
    return _Soft(y, u, (1 / total, 1 / other), y)


def _zero_correction(a: float) -> tuple[float, float]:
    """``c`` = −ln(1 − α²)/α − α = α³/2 + α⁵/3 + … for α < 1, and what it lacks as a float64."""
    if a < 1e-8:
        return a * a * a / 2, 0.0
    if not a < 1:
        return 0.0, 0.0
    with localcontext() as context:
        context.prec = 80
        exact = Decimal(a)
        c = -(1 - exact * exact).ln() / exact - exact
        return float(c), float(c - Decimal(float(c)))


def _ratio(function: Callable[[Values], Values], t: Values) -> Values:
    """function(t)/t, where that goes to 1 at 0."""
    safe = np.where(t == 0, 1, t)
    return np.where(t == 0, 1, function(safe) / safe)
