"""Cross-entropies of probabilities, clipped as texts teach them.

After a softmax or a sigmoid the losses of logits are better in every way. Where the probability
of the right answer is below ``eps`` the clip makes the gradient 0: the worst mistakes teach
nothing. Where it is almost 1, a float32 probability has no digits of 1 − p left, and the pullback
of the softmax, which divided p by itself on paper, first multiplies what this one divided.
"""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.errors import DomainError
from purenn.ops._numerics import narrow, widen
from purenn.typing import Annotated, Array, Float, Interval, Pullback, Simplex


@rule
def categorical_cross_entropy(
    probabilities: Annotated[Float[Array, "*batch classes"], Interval(ge=0, le=1)],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
    *,
    eps: float = 1e-7,
) -> Float[Array, "*batch"]:
    """−Σ qᵢ·log pᵢ over the classes (last axis), with p clipped to [eps, 1 − eps].

    One loss per example, of which texts take the mean over the batch. Keras also divides p by
    its sum first; that is left to the caller, as in *Neural Networks from Scratch*.

    Raises DomainError where ``eps`` is not between 0 and ½.
    """
    _check_eps("categorical_cross_entropy", eps)
    p = widen(probabilities)
    log_p = _clipped_log(p, 1 - p, eps)
    return narrow(-np.sum(widen(labels) * log_p, axis=-1), probabilities)


@rule
def categorical_cross_entropy_vjp(
    probabilities: Annotated[Float[Array, "*batch classes"], Interval(ge=0, le=1)],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
    *,
    eps: float = 1e-7,
) -> tuple[Float[Array, "*batch"], Pullback]:
    """categorical_cross_entropy with its pullback.

    dprobabilities = −(q/p)·dL between eps and 1 − eps, beyond them 0, and at either half of it,
    as in ``jnp.clip``. dlabels = −log p·dL, with p clipped.
    """
    _check_eps("categorical_cross_entropy", eps)
    p, q = widen(probabilities), widen(labels)
    log_p = _clipped_log(p, 1 - p, eps)

    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)[..., np.newaxis]
        dprobabilities = -_passed(p, eps) * q / np.maximum(p, eps) * wide
        return narrow(dprobabilities, probabilities), narrow(-log_p * wide, labels)

    return narrow(-np.sum(q * log_p, axis=-1), probabilities), pullback


@rule
def binary_cross_entropy(
    probabilities: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    *,
    eps: float = 1e-7,
) -> Float[Array, "*shape"]:
    """−q·log p − (1 − q)·log(1 − p), elementwise, with p clipped to [eps, 1 − eps].

    Nothing is averaged; texts take the mean over the outputs of an example, then over the batch.

    Raises DomainError where ``eps`` is not between 0 and ½.
    """
    _check_eps("binary_cross_entropy", eps)
    p, q = widen(probabilities), widen(labels)
    terms = q * _clipped_log(p, 1 - p, eps) + (1 - q) * _clipped_log(1 - p, p, eps)
    return narrow(-terms, probabilities)


@rule
def binary_cross_entropy_vjp(
    probabilities: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    *,
    eps: float = 1e-7,
) -> tuple[Float[Array, "*shape"], Pullback]:
    """binary_cross_entropy with its pullback.

    dprobabilities = (p − q)/(p·(1 − p))·dL between eps and 1 − eps, beyond them 0, and at either
    half of it, as in ``jnp.clip``; −q/p + (1 − q)/(1 − p), as it is often written, cancels
    around p = q. dlabels = −log(p/(1 − p))·dL with p clipped, around p = ½ by
    log1p((2p − 1)/(1 − p)).
    """
    _check_eps("binary_cross_entropy", eps)
    p, q = widen(probabilities), widen(labels)

    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)
        inside, outside = np.maximum(p, eps), np.maximum(1 - p, eps)
        dprobabilities = _passed(p, eps) * (p - q) / (inside * outside) * wide
        apart = _clipped_log(p, 1 - p, eps) - _clipped_log(1 - p, p, eps)
        middle = np.clip(p, 0.25, 0.75)
        logit = np.where(middle == p, np.log1p((2 * middle - 1) / (1 - middle)), apart)
        return narrow(dprobabilities, probabilities), narrow(-logit * wide, labels)

    return unchecked(binary_cross_entropy)(probabilities, labels, eps=eps), pullback


def _clipped_log(p: Array, rest: Array, eps: float) -> Array:
    """log of p clipped to [eps, 1 − eps], given 1 − p and without rounding 1 − eps.

    In float16 that would be 1, and in float32 1 − 1e-7 is 1 − 1.19e-7.
    """
    low, high = np.clip(p, eps, 0.5), np.clip(rest, eps, 0.5)
    return np.asarray(np.where(p < 0.5, np.log(low), np.log1p(-high)))


def _passed(p: Array, eps: float) -> Array:
    """The slope of the clip: 1 inside, 0 outside, ½ at the ends."""
    low, high = p - eps, (1 - p) - eps
    return np.asarray((np.sign(low) + 1) * (np.sign(high) + 1) / 4)


def _check_eps(name: str, eps: float) -> None:
    if not 0 < eps < 0.5:
        raise DomainError(f"{name}: eps is {eps}, expected > 0 and < 0.5")
