"""Bionodal root units: an r-th root to the right of 0 (Bhumbra 2018, arXiv:1804.11237).

Both are (r²a + 1)^(1/r) for a ≥ 0, less a constant. An exponent that is rounded costs as many ULP
as the logarithm of the result is large, a base that is rounded costs 1/r: both enter with what
rounding cut off them.
"""

import math
from decimal import Decimal, localcontext
from functools import cache
from typing import NamedTuple

import numpy as np

from purenn.contract import check_number, rule, unchecked
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import decay, difference, masked, narrow, of_product, product, widen
from purenn.typing import Annotated, Array, Float, OneOf, Pullback, Values

__all__ = ["eru", "eru_vjp", "oru", "oru_vjp"]

_R = (2.0, 1.0, 0.3, 7.0)


@rule
@elementwise
def eru(
    x: Float[Array, "*shape"], *, r: Annotated[float | int, OneOf(*_R)]
) -> Float[Array, "*shape"]:
    """Exponential root unit: (r²x + 1)^(1/r) − 1/r for x ≥ 0, else e^(rx) − 1/r; r = 1 is elu.

    The two terms cancel around the zero of the whole: at −ln(r)/r for r > 1, where it is
    expm1(rx + ln r)/r, else at z = (r⁻ʳ − 1)/r², where it is
    expm1(log1p(r^(2 + r)·(x − z))/r)/r. ln r and z have twice the digits of a float64.

    Raises DomainError where ``r`` is not from 0.001 to 1000, DtypeError where it is no number.
    """
    r, unit = _unit("eru", r)
    wide = widen(x)
    u, lost = _times_r(wide, r)
    t, more = difference(u, -unit.log_r[0])
    t, lost = difference(t, -(lost + more + unit.log_r[1]))
    left = np.expm1(t) + np.exp(t) * lost
    a = np.maximum(wide, 0)
    beyond_zero = (np.minimum(a, unit.eru_near) - unit.zero[0]) - unit.zero[1]
    near = np.expm1(np.log1p(unit.growth * beyond_zero) / r)
    far = _power(a, unit, unit.value) - 1 / r
    return narrow(np.where(x < 0, left / r, np.where(a < unit.eru_near, near / r, far)), x)


@rule
@elementwise
def eru_vjp(
    x: Float[Array, "*shape"], *, r: Annotated[float | int, OneOf(*_R)]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``eru`` with its pullback.

    r·(r²x + 1)^(1/r − 1) for x ≥ 0, else r·e^(rx); both are r at 0, where there is no kink.
    The textbook form loses digits to rounding: in e^(rx) half an ULP of rx is up to 350 ULP of
    the result. The rest of the product enters too.
    """
    r, unit = _unit("eru", r)

    def pullback(dy: Array) -> tuple[Array]:
        wide, d = widen(x), widen(dy)
        u, lost = _times_r(wide, r)
        left = of_product(lambda scale: decay(scale, u, lost), d, r)
        right = _slope(d, np.maximum(wide, 0), unit, r)
        return (narrow(np.where(x < 0, left, right), x),)

    return unchecked(eru)(x, r=r), pullback


@rule
@elementwise
def oru(
    x: Float[Array, "*shape"], *, r: Annotated[float | int, OneOf(*_R)]
) -> Float[Array, "*shape"]:
    """Odd root unit: sgn(x)·((r²|x| + 1)^(1/r) − 1); r = 1 is the identity.

    Around 0, where the two terms cancel, it is expm1(log1p(r²|x|)/r).

    Raises DomainError where ``r`` is not from 0.001 to 1000, DtypeError where it is no number.
    """
    r, unit = _unit("oru", r)
    wide = widen(x)
    a = np.abs(wide)
    far = _power(a, unit, unit.value) - 1
    with np.errstate(over="ignore"):  # of the bound in half precision
        near = np.expm1(np.log1p(r * r * np.minimum(a, unit.oru_near)) / r)
        return narrow(np.copysign(np.where(a < unit.oru_near, near, far), wide), x)


@rule
@elementwise
def oru_vjp(
    x: Float[Array, "*shape"], *, r: Annotated[float | int, OneOf(*_R)]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``oru`` with its pullback.

    r·(r²|x| + 1)^(1/r − 1), with no kink: at 0, where autodiff of the formula finds sgn(0) = 0,
    both sides have the slope r. Exponent and base enter with what rounding cut off them.
    """
    r, unit = _unit("oru", r)

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(_slope(widen(dy), np.abs(widen(x)), unit, r), x),)

    return unchecked(oru)(x, r=r), pullback


Pair = tuple[float, float]
"""A number as a float64 and what it lacks."""


class _Exponent(NamedTuple):
    p: Pair
    factor: float
    """m^(−p)."""


class _Unit(NamedTuple):
    """What follows from r. 1/r² = m/s, with s a power of two and m at most 1."""

    log_r: Pair
    zero: Pair
    """(r⁻ʳ − 1)/r², where the right half of eru is 0 (if r < 1)."""
    growth: float
    """r^(2 + r)."""
    eru_near: float
    """Where (r²a + 1)^(1/r) is e times its value at that zero."""
    oru_near: float
    """Where it is e, or r²a is about to overflow."""
    shift: Pair
    """1/r²."""
    s: float
    value: _Exponent
    """With the exponent 1/r."""
    slope: _Exponent
    """With the exponent 1/r − 1."""


def _unit(name: str, r: float) -> tuple[float, _Unit]:
    number = check_number(name, "r", r, ge=0.001, le=1000)
    return number, _unit_of(number)


@cache
def _unit_of(r: float) -> _Unit:
    with localcontext() as context:
        context.prec = 60
        exact = Decimal(r)
        shift = 1 / (exact * exact)
        s = 1.0 if r >= 1 else 2.0 ** -math.frexp(float(shift))[1]

        def exponent(p: Decimal) -> _Exponent:
            return _Exponent(_pair(p), float((shift * Decimal(s)) ** -p))

        e, minus_r = Decimal(1).exp(), exact**-exact
        return _Unit(
            log_r=_pair(exact.ln()),
            zero=_pair((minus_r - 1) * shift),
            growth=float(exact**2 / minus_r),
            eru_near=max(float((e**exact * minus_r - 1) * shift), 0.0),
            oru_near=float(min(e**exact - 1, Decimal("1e290")) * shift),
            shift=_pair(shift),
            s=s,
            value=exponent(1 / exact),
            slope=exponent(1 / exact - 1),
        )


def _pair(x: Decimal) -> Pair:
    high = float(x)
    return high, float(x - Decimal(high))


def _times_r(x: Values, r: float) -> tuple[Values, Values]:
    """``r``·min(x, 0) and what rounding cut off it; no lower than where e^(rx) is 0 for certain."""
    return product(np.clip(x, -1500 / r, 0), r)


def _slope(dy: Values, a: Values, unit: _Unit, r: float) -> Values:
    """``dy``·r·(r²a + 1)^(1/r − 1); 0 if dy is, however steep it is there."""
    with np.errstate(over="ignore", invalid="ignore"):
        return masked(dy * (r * _power(a, unit, unit.slope)), dy != 0)


def _power(a: Values, unit: _Unit, exponent: _Exponent) -> Values:
    """(r²a + 1)^p for a ≥ 0, as m⁻ᵖ·(s·(a + 1/r²))ᵖ, which overflows only where the result does.

    To first order in what rounding cut off the base b and the exponent p,
    (b + δb)^(p + δp) = bᵖ·(1 + δp·ln b + p·δb/b).
    """
    base, lost = difference(a, -unit.shift[0])
    (p, lost_p), s = exponent.p, unit.s
    log = np.log(s * np.minimum(base, np.finfo(base.dtype).max))
    relative = lost_p * log + p * ((lost + unit.shift[1]) / base)
    with np.errstate(over="ignore"):
        y: Values = exponent.factor * (s * base) ** p * (1 + relative)
    return y
