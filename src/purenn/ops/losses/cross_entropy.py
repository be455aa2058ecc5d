"""Cross-entropies of logits."""

from typing import NamedTuple

import numpy as np

from purenn.contract import check_domain, check_number, rule, unchecked
from purenn.errors import ShapeError
from purenn.ops import _softmax
from purenn.ops._axes import Axis, axes_of, from_lanes, lanes, nonempty_axes
from purenn.ops._elementwise import elementwise
from purenn.ops._joint import joint, over
from purenn.ops._logistic import sigmoid_minus
from purenn.ops._numerics import (
    above_tangent,
    is_double,
    narrow,
    quiet,
    scaled_sigmoid,
    widen,
)
from purenn.ops.losses._terms import binary_cross_entropy_terms, weighted
from purenn.typing import (
    Annotated,
    Array,
    Float,
    Index,
    Int,
    Interval,
    OneOf,
    Pullback,
    Shape,
    Simplex,
)

__all__ = [
    "poly_loss_cross_entropy",
    "poly_loss_cross_entropy_vjp",
    "safe_softmax_cross_entropy",
    "safe_softmax_cross_entropy_vjp",
    "sigmoid_binary_cross_entropy",
    "sigmoid_binary_cross_entropy_vjp",
    "smooth_labels",
    "smooth_labels_vjp",
    "softmax_cross_entropy",
    "softmax_cross_entropy_vjp",
    "softmax_cross_entropy_with_integer_labels",
    "softmax_cross_entropy_with_integer_labels_vjp",
]


@rule
@quiet
def softmax_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
    *,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    """−Σ qᵢ·log pᵢ over the classes, along ``axis``, with p = softmax(logits) and q = labels.

    A class with qᵢ = 0 costs nothing, also where its logit is −∞: 0·log 0 = 0, which is NaN in
    ``optax.losses.softmax_cross_entropy``.

    Raises:
        ShapeError: there is no such axis, or no class along it.
        DtypeError: ``axis`` is no int, tuple of ints or None.
    """
    axes = nonempty_axes("softmax_cross_entropy", logits, axis, "logits")
    log_p = _softmax.log_softmax(lanes(widen(logits), axes), is_double(logits)).log_p
    return narrow(-np.sum(weighted(lanes(widen(labels), axes), log_p), axis=-1), logits)


@rule
def softmax_cross_entropy_vjp(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
    *,
    axis: Axis = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``softmax_cross_entropy`` with its pullback, the joint gradient.

    With L = −Σ qᵢ·yᵢ and y = log_softmax(logits), dy = −q·dL goes through the pullback of
    log_softmax: dlogits = dy − p·Σdy = (p·Σq − q)·dL, which is (p − q)·dL when q adds up to 1.
    No Jacobian of softmax is formed, and nothing is divided by p. dlabels = −y·dL. The textbook
    p − q loses its digits where p is almost q = 1: for the largest logit 1 − p is summed from the
    others.
    """
    axes = nonempty_axes("softmax_cross_entropy", logits, axis, "logits")
    q = lanes(widen(labels), axes)
    y = _softmax.log_softmax(lanes(widen(logits), axes), is_double(logits))

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)[..., np.newaxis]
        dlogits = from_lanes(_softmax.log_softmax_pullback(-q * wide, y), logits, axes)
        dlabels = from_lanes(weighted(wide, -y.log_p), labels, axes)
        return narrow(dlogits, logits), narrow(dlabels, labels)

    return narrow(-np.sum(weighted(q, y.log_p), axis=-1), logits), pullback


@rule
@quiet
def safe_softmax_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
) -> Float[Array, "*batch"]:
    """``softmax_cross_entropy`` over the last axis, under the name that optax has for 0·log 0 = 0.

    Raises:
        ShapeError: there is no class.
    """
    nonempty_axes("safe_softmax_cross_entropy", logits, -1, "logits")
    return unchecked(softmax_cross_entropy)(logits, labels)


@rule
def safe_softmax_cross_entropy_vjp(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """``safe_softmax_cross_entropy`` with its pullback, that of ``softmax_cross_entropy``.

    Where a logit is −∞, p = 0: dlogits = (p − q)·dL = 0 for q = 0, and dlabels = +∞·dL says that
    any label there would cost infinitely much. Autodiff of 0·log 0 alone would be NaN.
    """
    nonempty_axes("safe_softmax_cross_entropy", logits, -1, "logits")
    return unchecked(softmax_cross_entropy_vjp)(logits, labels)


@rule
@quiet
def softmax_cross_entropy_with_integer_labels(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "..."], Index("classes")],
    *,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    """−log p at the label, with p = softmax(logits) along ``axis``.

    ``labels`` has the shape of ``logits`` without ``axis``. Along several axes a label counts
    the entries in the order of the axes, the last one fastest.

    Raises:
        DomainError: a label is no class.
        ShapeError: there is no such axis, or no class along it.
        DtypeError: ``axis`` is no int, tuple of ints or None.
    """
    rows, _ = _rows("softmax_cross_entropy_with_integer_labels", logits, labels, axis)
    return narrow(joint(rows, labels, is_double(logits))[0], logits)


@rule
def softmax_cross_entropy_with_integer_labels_vjp(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Int[Array, "..."], Index("classes")],
    *,
    axis: Axis = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``softmax_cross_entropy_with_integer_labels`` with its pullback, the joint gradient.

    dlogits = (p − onehot(label))·dL. At a label with p almost 1 the textbook p − 1 keeps no
    digit and training stops. With e = exp(logits − max) and s the sum of it over the others,
    p − 1 = −s/(s + e) at the label, and L = log1p(s + (e − 1)) − (logit − max), where e = 1 at the
    largest: nothing cancels.
    """
    rows, axes = _rows("softmax_cross_entropy_with_integer_labels", logits, labels, axis)
    losses, slope, total = joint(rows, labels, is_double(logits))

    def pullback(dy: Array) -> tuple[Array, None]:
        return from_lanes(over(slope, dy, total), logits, axes), None

    return narrow(losses, logits), pullback


def _rows(name: str, logits: Array, labels: Array, axis: Axis) -> tuple[Array, Shape]:
    """The logits with their classes along the last axis, and the axes that these are from.

    The door has seen to the values of the labels where the classes already are the last axis.
    """
    axes = nonempty_axes(name, logits, axis, "logits")
    rows = lanes(logits, axes)
    if labels.shape != rows.shape[:-1]:
        raise ShapeError(
            f"{name}: labels has shape {labels.shape}, expected that of logits without "
            f"axis {axis}, {rows.shape[:-1]}"
        )
    if axis != -1:
        check_domain(name, "labels", labels, Index("classes"), {"classes": rows.shape[-1]})
    return rows, axes


@rule
@quiet
def poly_loss_cross_entropy(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
    *,
    epsilon: float = 2.0,
    axis: Axis = -1,
) -> Float[Array, "..."]:
    """Σ qᵢ·(−log pᵢ + ε·(1 − pᵢ)) along ``axis``: Poly-1 of Leng et al. 2022, arXiv:2204.12511.

    −log p is the series Σ (1 − p)ᵏ/k; ε is added to its first coefficient. The paper has ε = 2
    for classification on ImageNet, −1 for detection.

    Raises:
        DomainError: ``epsilon`` is not finite.
        DtypeError: ``epsilon`` is no number, or ``axis`` no int, tuple of ints or None.
        ShapeError: there is no such axis, or no class along it.
    """
    epsilon = check_number("poly_loss_cross_entropy", "epsilon", epsilon)
    axes = nonempty_axes("poly_loss_cross_entropy", logits, axis, "logits")
    its = _poly(_softmax.log_softmax(lanes(widen(logits), axes), is_double(logits)), epsilon)
    return narrow(np.sum(weighted(lanes(widen(labels), axes), its.loss), axis=-1), logits)


@rule
def poly_loss_cross_entropy_vjp(
    logits: Float[Array, "*batch classes"],
    labels: Annotated[Float[Array, "*batch classes"], Simplex()],
    *,
    epsilon: float = 2.0,
    axis: Axis = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``poly_loss_cross_entropy`` with its pullback: a cross-entropy with other labels.

    With l(p) = −log p + ε·(1 − p), ∂l(pᵢ)/∂xⱼ = −(1/pᵢ + ε)·pᵢ(δᵢⱼ − pⱼ) = (1 + ε·pᵢ)(pⱼ − δᵢⱼ):
    dlogits = (p·Σq̃ − q̃)·dL with q̃ᵢ = qᵢ·(1 + ε·pᵢ), and dlabels = l(p)·dL.
    At ε = −1 all of it cancels where p is almost 1: 1 + ε·p is then written (1 + ε) − ε·(1 − p),
    and l(p) = (1 + ε)·(1 − p) + (e^(log p) − 1 − log p), the last by its series.
    """
    epsilon = check_number("poly_loss_cross_entropy", "epsilon", epsilon)
    axes = nonempty_axes("poly_loss_cross_entropy", logits, axis, "logits")
    q = lanes(widen(labels), axes)
    y = _softmax.log_softmax(lanes(widen(logits), axes), is_double(logits))
    its = _poly(y, epsilon)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)[..., np.newaxis]
        dlogits = _softmax.log_softmax_pullback(-q * its.weight * wide, y)
        dlabels = weighted(wide, its.loss)
        return (
            narrow(from_lanes(dlogits, logits, axes), logits),
            narrow(from_lanes(dlabels, labels, axes), labels),
        )

    return narrow(np.sum(weighted(q, its.loss), axis=-1), logits), pullback


class _Poly(NamedTuple):
    loss: Array
    """l(p) = −log p + ε·(1 − p), entry by entry."""
    weight: Array
    """1 + ε·p."""


def _poly(y: _softmax.LogSoftmax, epsilon: float) -> _Poly:
    log_p_top = y.log_p.take(y.top)
    loss = epsilon * (1 - y.p) - y.log_p
    weight = 1 + epsilon * y.p
    loss.put(y.top, (1 + epsilon) * y.rest + above_tangent(log_p_top))
    weight.put(y.top, (1 + epsilon) - epsilon * y.rest)
    return _Poly(loss, weight)


@rule
@elementwise
@quiet
def sigmoid_binary_cross_entropy(
    logits: Float[Array, "*shape"],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
) -> Float[Array, "*shape"]:
    """−q·log σ(x) − (1 − q)·log σ(−x), elementwise, with x = logits and q = labels.

    With −log σ(x) = max(−x, 0) + log1p(e⁻ˡˣˡ) all terms are ≥ 0 and nothing cancels. An infinite
    logit on the right side costs nothing: 0·∞ = 0, the limit.
    """
    return narrow(binary_cross_entropy_terms(widen(logits), widen(labels)), logits)


@rule
@elementwise
def sigmoid_binary_cross_entropy_vjp(
    logits: Float[Array, "*shape"],
    labels: Annotated[Float[Array, "*shape"], Interval(ge=0, le=1)],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``sigmoid_binary_cross_entropy`` with its pullback.

    dlogits = (σ(x) − q)·dL, written (1 − q)·σ(x) − q·σ(−x) so that a saturated σ(x) against
    q = 1 keeps its digits. Near x = log(q/(1 − q)) it cancels, to what rounding leaves of σ(x):
    in float64 σ(x) − q is there computed with twice the digits. dlabels = −x·dL, since
    log σ(−x) − log σ(x) = −x.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        x, q, wide = widen(logits), widen(labels), widen(dy)
        above, below = scaled_sigmoid((1 - q) * wide, x), scaled_sigmoid(q * wide, -x)
        dlogits = np.asarray(above - below)
        near = (np.abs(dlogits) < np.abs(above) / 2) & (np.abs(x) < 600)
        if logits.dtype == np.float64 and near.any():
            dlogits[near] = sigmoid_minus(x[near], q[near]) * wide[near]
        return narrow(dlogits, logits), narrow(weighted(wide, -x), labels)

    return unchecked(sigmoid_binary_cross_entropy)(logits, labels), pullback


@rule
@quiet
def smooth_labels(
    labels: Float[Array, "*batch classes"],
    alpha: Annotated[float, Interval(ge=0, le=1)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> Float[Array, "*batch classes"]:
    """(1 − α)·q + α/K, with q = labels and K classes along ``axis``.

    It adds up to (1 − α)·Σq + α: to 1 where q does; Müller et al. 2019, arXiv:1906.02629.

    Raises:
        DomainError: α is not within [0, 1].
        DtypeError: α is no number, or ``axis`` no int, tuple of ints or None.
        ShapeError: there is no such axis.
    """
    share = _share(labels, alpha, axis)
    return narrow((1 - alpha) * widen(labels) + alpha * share, labels)


@rule
def smooth_labels_vjp(
    labels: Float[Array, "*batch classes"],
    alpha: Annotated[float, Interval(ge=0, le=1)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> tuple[Float[Array, "*batch classes"], Pullback]:
    """``smooth_labels`` with its pullback: dlabels = (1 − α)·dy and dα = Σ (1/K − q)·dy.

    Nothing is lost but by rounding: it is linear in each.
    """
    share = _share(labels, alpha, axis)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)
        dalpha = np.asarray(np.sum((share - widen(labels)) * wide))
        return narrow((1 - alpha) * wide, labels), narrow(dalpha, labels)

    return unchecked(smooth_labels)(labels, alpha, axis=axis), pullback


def _share(labels: Array, alpha: float, axis: Axis) -> float:
    """1/K, and 1 where there is no class that could have a share."""
    check_number("smooth_labels", "alpha", alpha, ge=0, le=1)
    axes = axes_of("smooth_labels", labels, axis, "labels")
    return 1 / max(int(np.prod([labels.shape[one] for one in axes])), 1)
