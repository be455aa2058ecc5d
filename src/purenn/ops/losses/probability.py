"""Cross-entropies of probabilities, clipped as texts teach them.

After a softmax or a sigmoid the losses of logits are better in every way. Where the probability
of the right answer is below ``eps`` the clip makes the gradient 0: the worst mistakes teach
nothing. Where it is almost 1, a float32 probability has no digits of 1 − p left, and the pullback
of the softmax, which divided p by itself on paper, first multiplies what this one divided.
"""

import numpy as np

from purenn.contract import check_number, rule, unchecked
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import narrow, quiet
from purenn.typing import Annotated, Array, Float, Interval, Pullback, Simplex, Values

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_vjp",
    "categorical_cross_entropy",
    "categorical_cross_entropy_vjp",
]


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

    Raises:
        DomainError: ``eps`` is not between 0 and ½.
        DtypeError: it is no number.
    """
    eps = check_number("categorical_cross_entropy", "eps", eps, gt=0, lt=0.5)
    p = _wide(probabilities)
    log_p = _clipped_log(p, 1 - p, eps)
    return narrow(-np.sum(_wide(labels) * log_p, axis=-1), probabilities)


@rule
def categorical_cross_entropy_vjp(
    probabilities: Annotated[Float[Array, "*batch classes"], Interval(ge=0, le=1)],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
    *,
    eps: float = 1e-7,
) -> tuple[Float[Array, "*batch"], Pullback]:
    """``categorical_cross_entropy`` with its pullback.

    dprobabilities = −(q/p)·dL between eps and 1 − eps, beyond them 0, and at either half of it,
    as in ``jnp.clip``. dlabels = −log p·dL, with p clipped. The textbook clip rounds 1 − eps, to
    1 in float16; here 1 − p is compared with eps.
    """
    eps = check_number("categorical_cross_entropy", "eps", eps, gt=0, lt=0.5)
    p, q = _wide(probabilities), _wide(labels)
    log_p = _clipped_log(p, 1 - p, eps)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = _wide(dy)[..., np.newaxis]
        dprobabilities = -_passed(p, eps) * q / np.maximum(p, eps) * wide
        return narrow(dprobabilities, probabilities), narrow(-log_p * wide, labels)

    return narrow(-np.sum(q * log_p, axis=-1), probabilities), pullback


@rule
@elementwise
def binary_cross_entropy(
    probabilities: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    *,
    eps: float = 1e-7,
) -> Float[Array, "*shape"]:
    """−q·log p − (1 − q)·log(1 − p), elementwise, with p clipped to [eps, 1 − eps].

    Nothing is averaged; texts take the mean over the outputs of an example, then over the batch.

    Raises:
        DomainError: ``eps`` is not between 0 and ½.
        DtypeError: it is no number.
    """
    eps = check_number("binary_cross_entropy", "eps", eps, gt=0, lt=0.5)
    p, q = _wide(probabilities), _wide(labels)
    terms = q * _clipped_log(p, 1 - p, eps) + (1 - q) * _clipped_log(1 - p, p, eps)
    return narrow(-terms, probabilities)


@rule
@elementwise
def binary_cross_entropy_vjp(
    probabilities: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
    *,
    eps: float = 1e-7,
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``binary_cross_entropy`` with its pullback.

    dprobabilities = (p − q)/(p·(1 − p))·dL between eps and 1 − eps, beyond them 0, and at either
    half of it, as in ``jnp.clip``; −q/p + (1 − q)/(1 − p), as it is often written, cancels
    around p = q. dlabels = −log(p/(1 − p))·dL with p clipped, around p = ½ by
    log1p((1 − 2s)/s), s the smaller of p and 1 − p: log(1 − s) − log s cancels there.
    """
    eps = check_number("binary_cross_entropy", "eps", eps, gt=0, lt=0.5)
    p, q = _wide(probabilities), _wide(labels)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = _wide(dy)
        inside, outside = np.maximum(p, eps), np.maximum(1 - p, eps)
        dprobabilities = _passed(p, eps) * (p - q) / (inside * outside) * wide
        smaller = np.clip(np.where(p < 0.5, p, 1 - p), eps, 0.5)
        middle = np.log1p((1 - 2 * smaller) / np.maximum(smaller, 0.25))
        apart = np.log1p(-smaller) - np.log(smaller)
        minus_logit = np.sign(0.5 - p) * np.where(smaller > 0.25, middle, apart)
        return narrow(dprobabilities, probabilities), narrow(minus_logit * wide, labels)

    return unchecked(binary_cross_entropy)(probabilities, labels, eps=eps), pullback


def _clipped_log(p: Values, rest: Values, eps: float) -> Array:
    """log of p clipped to [eps, 1 − eps], given 1 − p and without rounding 1 − eps.

    In float16 that would be 1, and in float32 1 − 1e-7 is 1 − 1.19e-7.
    """
    low, high = np.clip(p, eps, 0.5), np.clip(rest, eps, 0.5)
    return np.asarray(np.where(p < 0.5, np.log(low), np.log1p(-high)))


def _passed(p: Values, eps: float) -> Array:
    """The slope of the clip: 1 inside, 0 outside, ½ at the ends."""
    low, high = p - eps, (1 - p) - eps
    return np.asarray((np.sign(low) + 1) * (np.sign(high) + 1) / 4)


def _wide(x: Array) -> Array:
    """Float64, also of half precision: ``eps`` may be less than any float32."""
    return x.astype(np.float64, copy=False)
