"""Cross-entropy with less weight on what is already right."""

from typing import NamedTuple

import numpy as np

from purenn.contract import rule
from purenn.errors import DomainError
from purenn.ops._numerics import (
    difference,
    narrow,
    negative_half,
    product,
    scaled_sigmoid,
    widen,
)
from purenn.ops.losses.cross_entropy import binary_cross_entropy_terms
from purenn.typing import Annotated, Array, Float, Interval, Pullback


@rule
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

    Raises DomainError where ``alpha`` is not within [0, 1] or ``gamma`` is negative.
    """
    its = _terms(logits, labels, alpha, gamma)
    return narrow(its.weight * its.focus * its.entropy, logits)


@rule
def sigmoid_focal_loss_vjp(
    logits: Float[Array, "*shape"],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    *,
    alpha: float | None = None,
    gamma: float = 2.0,
) -> tuple[Float[Array, "*shape"], Pullback]:
    """sigmoid_focal_loss with its pullback.

    m = a + b with a = (1 − q)·σ(x), b = q·σ(−x): c′ = a − b and m′ = a·σ(−x) − b·σ(x), so that
    dlogits = w·mᵞ·((γ·c·σ(−x)·a/m + a) − (γ·c·σ(x)·b/m + b))·dL. For a label of 0 or 1 only
    one bracket is left, all its terms of one sign; γ·m^(γ − 1)·(1 − 2q)·σ·(1 − σ), the textbook
    form, is 0·∞ for γ < 1 once m underflows, and for σ rounded to 1 keeps no digit.
    With ∂c/∂q = −x and ∂m/∂q = σ(−x) − σ(x) = −tanh(x/2),
    dlabels = mᵞ·((2α − 1)·c − w·(x + γ·(c/m)·tanh(x/2)))·dL, without the first term if α is None.
    """
    its = _terms(logits, labels, alpha, gamma)

    def pullback(dy: Array) -> tuple[Array, Array]:
        x, wide = widen(logits), widen(dy)
        slope = its.a * (1 + gamma * its.ratio * scaled_sigmoid(1.0, -x))
        slope -= its.b * (1 + gamma * its.ratio * scaled_sigmoid(1.0, x))
        by_label = -its.weight * (x + gamma * its.ratio * np.tanh(x / 2))
        if alpha is not None:
            by_label += (2 * alpha - 1) * its.entropy
        dlogits = its.weight * its.focus * slope * wide
        return narrow(dlogits, logits), narrow(its.focus * by_label * wide, labels)

    return narrow(its.weight * its.focus * its.entropy, logits), pullback


class _Terms(NamedTuple):
    a: Array
    b: Array
    entropy: Array
    """c"""
    ratio: Array
    """c/m, which is 1 where both underflow."""
    focus: Array
    """mᵞ"""
    weight: Array | float


def _terms(logits: Array, labels: Array, alpha: float | None, gamma: float) -> _Terms:
    if alpha is not None and not 0 <= alpha <= 1:
        raise DomainError(f"sigmoid_focal_loss: alpha is {alpha}, expected ≥ 0 and ≤ 1")
    if not 0 <= gamma < np.inf:
        raise DomainError(f"sigmoid_focal_loss: gamma is {gamma}, expected ≥ 0")
    x, q = widen(logits), widen(labels)
    a, b = scaled_sigmoid(1 - q, x), scaled_sigmoid(q, -x)
    entropy = binary_cross_entropy_terms(x, q)
    m, fine = _missing(x, q)
    ratio = np.divide(entropy, m, out=np.ones_like(m), where=m != 0)
    weight = 1.0 if alpha is None else alpha * q + (1 - alpha) * (1 - q)
    return _Terms(a, b, entropy, ratio, m**gamma * (1 + gamma * fine), weight)


def _missing(x: Array, q: Array) -> tuple[Array, Array]:
    """m = N/D with D = 1 + eⁿ, n = −|x|, and what rounding cut off it, as a part of it.

    The relative error of m becomes that of mᵞ γ times as large, and so all are kept but that of eⁿ.
    """
    e = np.exp(negative_half(x))
    rest, rest_lost = difference(np.ones_like(q), q)
    near, far = np.where(x > 0, rest, q), np.where(x > 0, q, rest)
    small, small_lost = product(far, e)
    numerator, sum_lost = difference(near, -small)
    denominator, one_lost = difference(np.ones_like(e), -e)
    m = numerator / denominator
    back, back_lost = product(m, denominator)
    lost = sum_lost + small_lost + rest_lost * np.where(x > 0, 1, e)
    lost += (numerator - back) - back_lost - m * one_lost
    return m, np.divide(lost, numerator, out=np.zeros_like(m), where=numerator != 0)
