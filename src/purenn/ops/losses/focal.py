"""Cross-entropy with less weight on what is already right."""

from typing import NamedTuple

import numpy as np

from purenn.contract import check_number, rule
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import decay, difference, narrow, product, quiet, scaled_sigmoid, widen
from purenn.ops.losses._terms import binary_cross_entropy_terms, weighted
from purenn.typing import Annotated, Array, Float, Interval, Pullback, Values

__all__ = [
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_vjp",
]


@rule
@elementwise
@quiet
def sigmoid_focal_loss(
    logits: Float[Array, "*shape"],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    *,
    alpha: float | None = None,
    gamma: float = 2.0,
) -> Float[Array, "*shape"]:
    """w·mᵞ·c, elementwise, with q = labels: Lin et al. 2017, arXiv:1708.02002.

    c = −q·log σ(x) − (1 − q)·log σ(−x) is the cross-entropy, m = (1 − q)·σ(x) + q·σ(−x) what is
    missing to certainty, and w = α·q + (1 − α)(1 − q), or 1 if ``alpha`` is None.

    Raises:
        DomainError: ``alpha`` is not within [0, 1], or ``gamma`` is not finite and ≥ 0.
        DtypeError: one of them is no number.
    """
    its = _terms(logits, labels, alpha, gamma)
    return narrow(its.focused(its.weight * its.entropy), logits)


@rule
@elementwise
def sigmoid_focal_loss_vjp(
    logits: Float[Array, "*shape"],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    *,
    alpha: float | None = None,
    gamma: float = 2.0,
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``sigmoid_focal_loss`` with its pullback.

    m = a + b with a = (1 − q)·σ(x), b = q·σ(−x): c′ = a − b and m′ = a·σ(−x) − b·σ(x), so that
    dlogits = w·mᵞ·((γ·c·σ(−x)·a/m + a) − (γ·c·σ(x)·b/m + b))·dL. For a label of 0 or 1 only
    one bracket is left, all its terms of one sign; γ·m^(γ − 1)·(1 − 2q)·σ·(1 − σ), the textbook
    form, is 0·∞ for γ < 1 once m underflows, and for σ rounded to 1 keeps no digit.
    With ∂c/∂q = −x and ∂m/∂q = σ(−x) − σ(x) = −tanh(x/2),
    dlabels = mᵞ·((2α − 1)·c − w·(x + γ·(c/m)·tanh(x/2)))·dL, without the first term if α is None.
    For a label of 0 or 1 mᵞ has the factor e^(γ·n), n = −|x|, which may be far from 0 where m is
    less than any float64, and loses nothing where a power multiplies the rounding of eⁿ by γ.
    """
    its = _terms(logits, labels, alpha, gamma)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        x, wide = widen(logits), widen(dy)
        by_focus = weighted(np.asarray(gamma), its.ratio)
        slope = weighted(its.a, 1 + weighted(scaled_sigmoid(1.0, -x), by_focus))
        slope -= weighted(its.b, 1 + weighted(scaled_sigmoid(1.0, x), by_focus))
        by_label = -its.weight * (x + by_focus * np.tanh(x / 2))
        if alpha is not None:
            by_label += (2 * alpha - 1) * its.entropy
        dlogits = its.focused(its.weight * slope * wide)
        return narrow(dlogits, logits), narrow(its.focused(by_label * wide), labels)

    return narrow(its.focused(its.weight * its.entropy), logits), pullback


class _Terms(NamedTuple):
    a: Values
    b: Values
    entropy: Values
    """c"""
    ratio: Values
    """c/m, which is 1 where both underflow."""
    weight: Values | float
    power: Values
    exponent: Values
    fine: Values
    """mᵞ = power·e^(exponent + fine)"""

    def focused(self, scale: Values) -> Values:
        """scale·mᵞ; where that is less than any float64, ∞·0 = 0, the limit."""
        y = decay(scale * self.power, self.exponent, self.fine)
        return np.where(self.exponent < -1500, 0, y)


@quiet
def _terms(logits: Array, labels: Array, alpha: float | None, gamma: float) -> _Terms:
    gamma = check_number("sigmoid_focal_loss", "gamma", gamma, ge=0)
    x, q = widen(logits), widen(labels)
    weight: Values | float = 1.0
    if alpha is not None:
        alpha = check_number("sigmoid_focal_loss", "alpha", alpha, ge=0, le=1)
        weight = alpha * q + (1 - alpha) * (1 - q)
    entropy = binary_cross_entropy_terms(x, q)
    part, n, fine = _missing(x, q)
    m = part * np.exp(n)
    ratio = np.divide(entropy, m, out=np.ones_like(m), where=m != 0)
    exponent, lost = product(n, gamma)
    a, b = scaled_sigmoid(1 - q, x), scaled_sigmoid(q, -x)
    return _Terms(a, b, entropy, ratio, weight, part**gamma, exponent, lost + gamma * fine)


def _missing(x: Values, q: Values) -> tuple[Values, Values, Values]:
    """m = eˢ·N/D, as N/D, s and what rounding cut off N/D, as a part of it.

    D = 1 + eⁿ with n = −|x|. For a label of 0 or 1 on its side s = n and N = 1; else s = 0.
    The relative error of m becomes that of mᵞ γ times as large, and so all are kept but that of eⁿ.
    """
    n = -np.minimum(np.abs(x), np.finfo(x.dtype).max)
    e = np.exp(n)
    rest, rest_lost = difference(np.ones_like(q), q)
    near, far = np.where(x > 0, rest, q), np.where(x > 0, q, rest)
    right = near == 0
    share = np.where(right, 1, e)
    small, small_lost = product(far, share)
    numerator, sum_lost = difference(near, -small)
    denominator, one_lost = difference(np.ones_like(e), -e)
    part = numerator / denominator
    back, back_lost = product(part, denominator)
    lost = sum_lost + small_lost + rest_lost * np.where(x > 0, 1, share)
    lost += (numerator - back) - back_lost - part * one_lost
    return part, np.where(right, n, 0), lost / numerator
