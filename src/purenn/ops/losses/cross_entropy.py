"""Cross-entropies of logits and of probabilities."""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops import _softmax
from purenn.ops._numerics import narrow, scaled_sigmoid, widen
from purenn.typing import Annotated, Array, Float, Index, Int, Interval, Pullback, Simplex


@rule
def softmax_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
) -> Float[Array, "*batch"]:
    """−Σ qᵢ·log pᵢ over the classes (last axis), with p = softmax(logits) and q = labels."""
    log_p = _softmax.log_softmax(widen(logits)).log_p
    return narrow(-np.sum(widen(labels) * log_p, axis=-1), logits)


@rule
def softmax_cross_entropy_vjp(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """softmax_cross_entropy with its pullback, the joint gradient.

    With L = −Σ qᵢ·yᵢ and y = log_softmax(logits), dy = −q·dL goes through the pullback of
    log_softmax: dlogits = dy − p·Σdy = (p·Σq − q)·dL, which is (p − q)·dL when q adds up to 1.
    No Jacobian of softmax is formed, and nothing is divided by p. dlabels = −y·dL.
    """
    q = widen(labels)
    y = _softmax.log_softmax(widen(logits))

    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)[..., np.newaxis]
        dlogits = _softmax.log_softmax_pullback(-q * wide, y)
        return narrow(dlogits, logits), narrow(-y.log_p * wide, labels)

    return narrow(-np.sum(q * y.log_p, axis=-1), logits), pullback


@rule
def softmax_cross_entropy_with_integer_labels(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> Float[Array, "*batch"]:
    """−log p at the label, with p = softmax(logits) over the last axis."""
    log_p = _softmax.log_softmax(widen(logits)).log_p
    return narrow(-_pick(log_p, labels)[..., 0], logits)


@rule
def softmax_cross_entropy_with_integer_labels_vjp(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "*batch"], Index("classes")],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """softmax_cross_entropy_with_integer_labels with its pullback, the joint gradient.

    dlogits = (p − onehot(label))·dL. At a label with p almost 1 the textbook p − 1 keeps no
    digit and training stops; there 1 − p = s/(1 + s), s the sum over the others, is used.
    """
    y = _softmax.log_softmax(widen(logits))

    def pullback(dy: Array) -> tuple[Array, None]:
        wide = widen(dy)[..., np.newaxis]
        dlogits = y.p * wide
        missing = np.where(y.top == labels[..., np.newaxis], y.rest, 1 - _pick(y.p, labels))
        np.put_along_axis(dlogits, labels[..., np.newaxis], -missing * wide, -1)
        return narrow(dlogits, logits), None

    return narrow(-_pick(y.log_p, labels)[..., 0], logits), pullback


def _pick(x: Array, labels: Array) -> Array:
    """The entry of each row that its label names, the class axis kept."""
    return np.take_along_axis(x, labels[..., np.newaxis], -1)


@rule
def sigmoid_binary_cross_entropy(
    logits: Float[Array, "*shape"],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
) -> Float[Array, "*shape"]:
    """−q·log σ(x) − (1 − q)·log σ(−x), elementwise, with x = logits and q = labels.

    With −log σ(x) = max(−x, 0) + log1p(e⁻ˡˣˡ) all terms are ≥ 0 and nothing cancels.
    """
    x, q = widen(logits), widen(labels)
    linear = q * np.maximum(-x, 0) + (1 - q) * np.maximum(x, 0)
    return narrow(linear + np.log1p(np.exp(-np.abs(x))), logits)


@rule
def sigmoid_binary_cross_entropy_vjp(
    logits: Float[Array, "*shape"],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """sigmoid_binary_cross_entropy with its pullback.

    dlogits = (σ(x) − q)·dL, written (1 − q)·σ(x) − q·σ(−x) so that a saturated σ(x) against
    q = 1 keeps its digits. dlabels = −x·dL, since log σ(−x) − log σ(x) = −x.
    """

    def pullback(dy: Array) -> tuple[Array, Array]:
        x, q, wide = widen(logits), widen(labels), widen(dy)
        dlogits = scaled_sigmoid((1 - q) * wide, x) - scaled_sigmoid(q * wide, -x)
        return narrow(dlogits, logits), narrow(-x * wide, labels)

    return unchecked(sigmoid_binary_cross_entropy)(logits, labels), pullback
