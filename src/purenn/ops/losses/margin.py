"""Losses that ask for a margin: nothing is learnt from what is right by more than that.

All are max(0, m) of a margin m that is missing. At the kink m = 0 the derivative is halfway
between those on its two sides, as that of ``jnp.maximum``.
"""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import difference, narrow, product, quiet, widen
from purenn.typing import Annotated, Array, Float, Index, Int, Pullback, Values

__all__ = [
    "hinge_loss",
    "hinge_loss_vjp",
    "multiclass_hinge_loss",
    "multiclass_hinge_loss_vjp",
    "multiclass_perceptron_loss",
    "multiclass_perceptron_loss_vjp",
    "perceptron_loss",
    "perceptron_loss_vjp",
]


@rule
@elementwise
@quiet
def hinge_loss(
    predictor_outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """max(0, 1 − p·t), elementwise; targets t are −1 or 1.

    Rosasco et al., *Are loss functions all the same?*, Neural Computation 16 (2004).
    """
    return narrow(np.maximum(_missing(predictor_outputs, targets), 0), predictor_outputs)


@rule
@elementwise
def hinge_loss_vjp(
    predictor_outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``hinge_loss`` with its pullback.

    dp = −t·dL and dt = −p·dL where p·t < 1, else 0; half of it at the kink p·t = 1. In float64
    the product is taken with its remainder: rounded, 1 − p·t has no digit left beside the kink,
    and may be on the wrong side of it.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        return _of_product(_missing(predictor_outputs, targets), predictor_outputs, targets, dy)

    return unchecked(hinge_loss)(predictor_outputs, targets), pullback


@rule
@elementwise
@quiet
def perceptron_loss(
    predictor_outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """max(0, −p·t), elementwise; targets t are −1 or 1.

    Rosenblatt, *The perceptron*, Psychological Review 65 (1958).
    """
    missing = -widen(predictor_outputs) * widen(targets)
    return narrow(np.maximum(missing, 0), predictor_outputs)


@rule
@elementwise
def perceptron_loss_vjp(
    predictor_outputs: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``perceptron_loss`` with its pullback.

    dp = −t·dL and dt = −p·dL where p·t < 0, else 0; half of it at the kink p·t = 0. The sign of
    p·t is the product of the signs, where the product itself may underflow.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        missing = -np.sign(widen(predictor_outputs)) * np.sign(widen(targets))
        return _of_product(missing, predictor_outputs, targets, dy)

    return unchecked(perceptron_loss)(predictor_outputs, targets), pullback


@rule
@quiet
def multiclass_hinge_loss(
    scores: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> Float[Array, "*batch"]:
    """max(0, 1 + s − s_label), with s the best score of another class (last axis).

    Crammer & Singer, *On the algorithmic implementation of multiclass kernel-based vector
    machines*, JMLR 2 (2001).
    """
    return narrow(np.maximum(_lead(scores, labels, 1), 0), scores)


@rule
@quiet
def multiclass_hinge_loss_vjp(
    scores: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """``multiclass_hinge_loss`` with its pullback.

    dscores is dL at the best other class and −dL at the label where the loss is > 0, else 0. At
    a tie ``jnp.max`` splits evenly: n best others get dL/n each, or dL/(n + 1) at the kink, where
    the label has a part too. Who ties is read off the scores themselves: the textbook
    max(s + 1 − onehot) − s_label rounds them together where 1 is small or large beside them.
    """
    lead = _lead(scores, labels, 1)

    @quiet
    def pullback(dy: Array) -> tuple[Array, None]:
        return _of_lead(lead, scores, labels, dy), None

    return narrow(np.maximum(lead, 0), scores), pullback


@rule
@quiet
def multiclass_perceptron_loss(
    scores: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> Float[Array, "*batch"]:
    """max(s) − s_label over the classes (last axis).

    Collins, *Discriminative training methods for hidden Markov models*, EMNLP 2002.
    """
    return narrow(np.maximum(_lead(scores, labels, 0), 0), scores)


@rule
@quiet
def multiclass_perceptron_loss_vjp(
    scores: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """``multiclass_perceptron_loss`` with its pullback.

    dscores is dL at the best class and −dL at the label, which cancel where they are the same.
    At a tie of n classes ``jnp.max`` gives dL/n to each. The difference is taken with its
    remainder, so that no tie is one of rounding.
    """
    lead = _lead(scores, labels, 0)

    @quiet
    def pullback(dy: Array) -> tuple[Array, None]:
        return _of_lead(lead, scores, labels, dy), None

    return narrow(np.maximum(lead, 0), scores), pullback


def _missing(p: Array, t: Array) -> Values:
    """1 − p·t with all its digits; only float64 numbers have products that must be rounded."""
    wide_p, wide_t = widen(p), widen(t)
    if p.dtype != np.float64:
        return 1 - wide_p * wide_t
    pt, lost = product(wide_p, wide_t)
    return (1 - pt) - lost


def _of_product(missing: Values, p: Array, t: Array, dy: Array) -> tuple[Array, Array]:
    """Cotangents of p and t in max(0, c − p·t)."""
    inactive = missing < 0
    scaled = np.heaviside(missing, 0.5) * widen(dy)
    dp, dt = (-np.where(inactive, 0, widen(other)) * scaled for other in (t, p))
    return narrow(dp, p), narrow(dt, t)


def _others(scores: Array, labels: Array) -> Array:
    """The scores with −∞ at the label."""
    others = widen(scores).copy()
    np.put_along_axis(others, labels[..., np.newaxis], -np.inf, -1)
    return others


def _lead(scores: Array, labels: Array, margin: int) -> Values:
    """By how much the best of the other classes comes within ``margin`` of the label.

    The sign is exact: where a sum with the margin cancels, the remainder of the difference counts.
    """
    best = np.max(_others(scores, labels), axis=-1, initial=-np.inf)
    at_label = np.take_along_axis(widen(scores), labels[..., np.newaxis], -1)[..., 0]
    lead, lost = difference(best, at_label)
    return (lead + margin) + lost


def _of_lead(lead: Values, scores: Array, labels: Array, dy: Array) -> Array:
    """Cotangent of the scores in max(0, lead)."""
    others = _others(scores, labels)
    best = others == np.max(others, axis=-1, keepdims=True, initial=-np.inf)
    np.put_along_axis(best, labels[..., np.newaxis], False, -1)
    count = np.count_nonzero(best, axis=-1)
    share = np.where(lead < 0, 0, widen(dy)) / np.maximum(count + (lead == 0), 1)
    dscores = best * share[..., np.newaxis]
    np.put_along_axis(dscores, labels[..., np.newaxis], -(count * share)[..., np.newaxis], -1)
    return narrow(dscores, scores)
