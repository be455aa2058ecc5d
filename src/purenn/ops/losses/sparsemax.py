"""Losses of sparsemax: they are exactly 0 once the answer is right by a margin."""

from typing import NamedTuple

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops import _softmax
from purenn.ops._axes import nonempty_axes
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import narrow, places, quiet, widen
from purenn.ops.activations.piecewise import sparse_plus, sparse_plus_vjp
from purenn.typing import Annotated, Array, Float, Index, Int, Interval, Pullback

__all__ = [
    "multiclass_sparsemax_loss",
    "multiclass_sparsemax_loss_vjp",
    "sparsemax_loss",
    "sparsemax_loss_vjp",
]


@rule
@elementwise
@quiet
def sparsemax_loss(
    logits: Float[Array, "*shape"],
    labels: Annotated[Int[Array, "*shape"], Interval(ge=0, le=1)],
) -> Float[Array, "*shape"]:
    """sparse_plus(x) for label 0, sparse_plus(−x) for label 1, elementwise, with x = logits.

    0 up to x = −1, (x + 1)²/4 up to 1, then x: the binary sparsemax loss of Blondel, Martins &
    Niculae, *Learning with Fenchel-Young losses*, JMLR 2020, section 4.4.
    """
    return unchecked(sparse_plus)(_wrong(logits, labels))


@rule
@elementwise
def sparsemax_loss_vjp(
    logits: Float[Array, "*shape"],
    labels: Annotated[Int[Array, "*shape"], Interval(ge=0, le=1)],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``sparsemax_loss`` with its pullback: the sign of x in it times sparse_plus′.

    It has no kink, and nothing is lost: between −1 and 1 the slope (x + 1)/2 has one rounding.
    """
    y, through = unchecked(sparse_plus_vjp)(_wrong(logits, labels))

    @quiet
    def pullback(dy: Array) -> tuple[Array, None]:
        return _wrong(through(dy)[0], labels), None

    return y, pullback


def _wrong(x: Array, labels: Array) -> Array:
    """x with the sign with which it is wrong."""
    return np.asarray(np.where(labels == 1, -x, x))


@rule
@quiet
def multiclass_sparsemax_loss(
    scores: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> Float[Array, "*batch"]:
    """½ − z_label + ½·Σ(zⱼ² − τ²) over the support of sparsemax(z), z = scores, the last axis.

    0 if and only if the label leads by a margin of 1 (Martins & Astudillo 2016,
    arXiv:1602.02068). Computed as ½·‖p − onehot(label)‖² + max(0, τ − z_label), p = sparsemax(z):
    in the support zⱼ = pⱼ + τ, and all terms are ≥ 0. In the paper's form they are as large as
    z², and little is left of a small loss.

    Raises:
        DomainError: a label is no class.
        ShapeError: there is no class.
    """
    return narrow(_sparsemax(scores, labels).loss, scores)


@rule
def multiclass_sparsemax_loss_vjp(
    scores: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """``multiclass_sparsemax_loss`` with its pullback.

    ½·Σ(zⱼ² − τ²) has the gradient zⱼ − τ = pⱼ on the support, for Σ(zⱼ − τ)·∂τ drops out with
    Σpⱼ = 1 = Σ∂τ/∂zⱼ: dscores = (p − onehot(label))·dL, continuous where an entry joins the
    support. At the label p − 1 is summed from what p lacks, as it may be almost 1.
    """
    its = _sparsemax(scores, labels)

    @quiet
    def pullback(dy: Array) -> tuple[Array, None]:
        wide = widen(dy)[..., np.newaxis]
        dscores = its.p * wide
        dscores.put(places(dscores, labels[..., np.newaxis]), -its.missing * wide)
        return narrow(dscores, scores), None

    return narrow(its.loss, scores), pullback


class _Sparsemax(NamedTuple):
    loss: Array
    p: Array
    missing: Array
    """1 − p at the label, the class axis kept."""


@quiet
def _sparsemax(scores: Array, labels: Array) -> _Sparsemax:
    nonempty_axes("multiclass_sparsemax_loss", scores, -1, "scores")
    p, below, shift = _softmax.sparsemax(widen(scores))
    at_label = places(p, labels[..., np.newaxis])
    behind = below.take(at_label) + shift  # 1 − (z_label − τ)
    missing = np.minimum(behind, 1)
    distance = np.square(p)
    distance.put(at_label, np.square(missing))
    loss = np.sum(distance, axis=-1) / 2 + np.maximum(behind - 1, 0)[..., 0]
    return _Sparsemax(loss, p, missing)
