"""Activations that saturate, and their integrals.

They are evaluated at n = −|x| and reflected: on the negative half axis exponentials do not
overflow, and what is small there keeps its digits. softplus and squareplus obey
f(x) = x + f(−x), hence f′(x) = 1 − f′(−x).
"""

import numpy as np

from purenn.contract import check_number, rule, unchecked
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import (
    narrow,
    negative_half,
    of_product,
    positive_part,
    quiet,
    scaled_sigmoid,
    scaled_sigmoid_slope,
    widen,
)
from purenn.typing import Annotated, Array, Float, OneOf, Pullback, Values

__all__ = [
    "log_sigmoid",
    "log_sigmoid_vjp",
    "sigmoid",
    "sigmoid_vjp",
    "soft_sign",
    "soft_sign_vjp",
    "softplus",
    "softplus_vjp",
    "squareplus",
    "squareplus_vjp",
    "tanh",
    "tanh_vjp",
]


@rule
@elementwise
def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Logistic function σ(x) = 1/(1 + e⁻ˣ), without overflow for either sign."""
    return narrow(scaled_sigmoid(1.0, x), x)


@rule
@elementwise
def sigmoid_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``sigmoid`` with its pullback.

    σ′(x) = σ(x)·σ(−x) = eⁿ/(1 + eⁿ)² with n = −|x|.
    The textbook y·(1 − y) loses every digit once y rounds to 1 (float32, x = 17: it gives 0
    where the truth is 4.1e-8).
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(scaled_sigmoid_slope(widen(dy), negative_half(x)), x),)

    return unchecked(sigmoid)(x), pullback


@rule
@elementwise
def tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Hyperbolic tangent."""
    return narrow(np.tanh(widen(x)), x)


@rule
@elementwise
def tanh_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``tanh`` with its pullback.

    tanh(x) = 2σ(2x) − 1, so tanh′(x) = 4σ′(2x) = 1/cosh²(x).
    The textbook 1 − y² is 0 from |x| = 9 on in float32, where the truth is 6e-8.
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(4 * scaled_sigmoid_slope(widen(dy), 2 * negative_half(x)), x),)

    return unchecked(tanh)(x), pullback


@rule
@elementwise
def soft_sign(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x/(1 + |x|), an algebraic tanh (Turian, Bergstra & Bengio 2009, NAACL).

    From ``jax.nn.soft_sign``.
    """
    bounded = np.clip(widen(x), -_FAR, _FAR)
    return narrow(bounded / (1 + np.abs(bounded)), x)


_FAR = 1e30
"""From here on x/(1 + |x|) rounds to ±1, also for infinities."""


@rule
@elementwise
def soft_sign_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``soft_sign`` with its pullback.

    soft_sign′(x) = 1/(1 + |x|)², for either sign and at 0. The quotient rule, which autodiff
    takes, has 1/(1 + |x|) − |x|/(1 + |x|)² instead: 0 from |x| = 2²⁴ on in float32.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        gate = 1 / (1 + np.abs(widen(x)))
        return (narrow(widen(dy) * gate * gate, x),)

    return unchecked(soft_sign)(x), pullback


@rule
@elementwise
def softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(1 + eˣ) = max(x, 0) + log1p(e⁻ˡˣˡ), without overflow (Dugas et al. 2000, NIPS 13)."""
    return narrow(widen(positive_part(x)) + np.log1p(np.exp(widen(-np.abs(x)))), x)


@rule
@elementwise
def softplus_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``softplus`` with its pullback.

    softplus′(x) = eˣ/(1 + eˣ) = σ(x). The textbook form is ∞/∞ from x = 89 on in float32; here
    with e⁻ˡˣˡ nothing is lost.
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(scaled_sigmoid(widen(dy), x), x),)

    return unchecked(softplus)(x), pullback


@rule
@elementwise
def log_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log σ(x) = −softplus(−x): it keeps its digits where σ(x) rounds to 1 and its log to 0."""
    return np.asarray(-unchecked(softplus)(np.asarray(-x)))


@rule
@elementwise
def log_sigmoid_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``log_sigmoid`` with its pullback.

    log_sigmoid′(x) = softplus′(−x) = σ(−x), the two signs cancel. The textbook 1 − σ(x) is 0 from
    x = 17 on in float32, where the truth is 4.1e-8.
    """
    y, pullback = unchecked(softplus_vjp)(np.asarray(-x))
    return np.asarray(-y), pullback


@rule
@elementwise
def squareplus(
    x: Float[Array, "*shape"], *, b: Annotated[float | int, OneOf(4.0, 0.5)] = 4.0
) -> Float[Array, "*shape"]:
    """(x + √(x² + b))/2, an algebraic softplus (Barron 2021, arXiv:2112.11687).

    f(x)·f(−x) = b/4: for x < 0 the sum, which cancels, is b/4 over that for −x. x² would
    overflow from 2e19 on in float32; hypot does not.

    Raises DomainError where ``b`` is not positive and finite, DtypeError where it is no number.
    """
    large, small = _squareplus(x, b)
    return narrow(np.where(x < 0, small, large), x)


@rule
@elementwise
def squareplus_vjp(
    x: Float[Array, "*shape"], *, b: Annotated[float | int, OneOf(4.0, 0.5)] = 4.0
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``squareplus`` with its pullback.

    f′(x) = (1 + x/√(x² + b))/2 = f(x)/(f(x) + f(−x)), as √(x² + b) = f(x) + f(−x).
    With q = f(−|x|)/f(|x|) that is 1/(1 + q), for x < 0 q/(1 + q). The textbook form is 0
    from x = −8000 on in float32, where the truth is 1.6e-8. q may be subnormal where q·dy is not.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        wide, (large, small) = widen(dy), _squareplus(x, b)
        q = small / large
        scaled = of_product(lambda scale: scale / large, wide, small)
        left = np.where(large < 1, wide * q, scaled)
        return (narrow(np.where(x < 0, left, wide) / (1 + q), x),)

    return unchecked(squareplus)(x, b=b), pullback


def _squareplus(x: Array, b: float) -> tuple[Values, Values]:
    """Squareplus at |x| and at −|x|."""
    b = check_number("squareplus", "b", b, gt=0)
    size = np.abs(widen(x))
    large = size / 2 + np.hypot(size, np.sqrt(b)) / 2
    return large, b / 4 / large
