"""Losses of a prediction and a target that are numbers."""

import numpy as np

from purenn.contract import check_number, rule, unchecked
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import narrow, quiet, widen
from purenn.typing import Array, Float, Pullback, Values

__all__ = [
    "absolute_error",
    "absolute_error_vjp",
    "huber_loss",
    "huber_loss_vjp",
    "l2_loss",
    "l2_loss_vjp",
    "log_cosh",
    "log_cosh_vjp",
    "squared_error",
    "squared_error_vjp",
]


@rule
@elementwise
@quiet
def squared_error(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """(predictions − targets)², elementwise."""
    return narrow(np.square(_errors(predictions, targets)), predictions)


@rule
@elementwise
def squared_error_vjp(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``squared_error`` with its pullback.

    dpredictions = 2(predictions − targets)·dL = −dtargets; nothing is lost in the textbook form.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        return _opposite(_errors(predictions, targets), 2 * widen(dy), dy)

    return unchecked(squared_error)(predictions, targets), pullback


@rule
@elementwise
@quiet
def l2_loss(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """½(predictions − targets)², elementwise: half the squared error, as in Bishop's book."""
    errors = _errors(predictions, targets)
    return narrow(errors * (errors / 2), predictions)


@rule
@elementwise
def l2_loss_vjp(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``l2_loss`` with its pullback.

    dpredictions = (predictions − targets)·dL = −dtargets; nothing is lost in the textbook form.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        return _opposite(_errors(predictions, targets), widen(dy), dy)

    return unchecked(l2_loss)(predictions, targets), pullback


@rule
@elementwise
@quiet
def absolute_error(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """|predictions − targets|, elementwise; at the kink it has the slope 0 (``jnp.abs``: 1)."""
    return narrow(np.abs(_errors(predictions, targets)), predictions)


@rule
@elementwise
def absolute_error_vjp(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``absolute_error`` with its pullback.

    dpredictions = sgn(predictions − targets)·dL = −dtargets. At the kink, where the two are
    equal, the derivative is 0: what is right is not moved. It is that of
    ``jnp.maximum(e, -e)``, halfway between both sides; ``jnp.abs`` takes the right one, 1.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        return _opposite(np.sign(_errors(predictions, targets)), widen(dy), dy)

    return unchecked(absolute_error)(predictions, targets), pullback


@rule
@elementwise
@quiet
def huber_loss(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"], *, delta: float = 1.0
) -> Float[Array, "*shape"]:
    """½e² for |e| ≤ δ and δ(|e| − ½δ) beyond, elementwise, with e = predictions − targets.

    With q = min(|e|, δ) both are q(|e| − ½q): no square of |e| overflows, and nothing cancels.

    Raises:
        DomainError: ``delta`` is not finite and > 0.
        DtypeError: it is no number.

    Huber, *Robust estimation of a location parameter*, Ann. Math. Statist. 35 (1964).
    """
    delta = check_number("huber_loss", "delta", delta, gt=0)
    size = np.abs(_errors(predictions, targets))
    quadratic = np.minimum(size, delta)
    return narrow(quadratic * (size - quadratic / 2), predictions)


@rule
@elementwise
def huber_loss_vjp(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"], *, delta: float = 1.0
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``huber_loss`` with its pullback.

    dpredictions = e·dL for |e| ≤ δ and δ·sgn(e)·dL beyond: the gradient of ½e², clipped to
    [−δ, δ]. The two meet at |e| = δ; there is no kink, and
    nothing is lost in the textbook form.
    """
    delta = check_number("huber_loss", "delta", delta, gt=0)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        return _opposite(np.clip(_errors(predictions, targets), -delta, delta), widen(dy), dy)

    return unchecked(huber_loss)(predictions, targets, delta=delta), pullback


@rule
@elementwise
@quiet
def log_cosh(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """log cosh(predictions − targets), elementwise: about ½e² near 0, |e| − log 2 far out.

    Near 0 it is log1p(2 sinh²(e/2)), since cosh e = 1 + 2 sinh²(e/2); the usual
    |e| + log1p(e⁻²ˡᵉˡ) − log 2 leaves nothing of ½e² below e = 1e-8 and is kept for |e| > 2.

    Chen et al., *Log hyperbolic cosine loss improves variational auto-encoder*, 2019.
    """
    size = np.abs(_errors(predictions, targets))
    near = np.log1p(2 * np.square(np.sinh(np.minimum(size, 2) / 2)))
    far = size - 0.6931471805599453 + np.log1p(np.exp(-2 * np.maximum(size, 2)))
    return narrow(np.where(size > 2, far, near), predictions)


@rule
@elementwise
def log_cosh_vjp(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``log_cosh`` with its pullback.

    dpredictions = tanh(e)·dL = −dtargets, with e = predictions − targets, as sinh/cosh is tanh.
    That quotient is ∞/∞ from e = 90 on in float32, and 1 − 2/(e²ᵉ + 1) loses e near 0.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        return _opposite(np.tanh(_errors(predictions, targets)), widen(dy), dy)

    return unchecked(log_cosh)(predictions, targets), pullback


def _errors(predictions: Array, targets: Array) -> Values:
    """predictions − targets: in float64 of float32 numbers as good as exact."""
    return widen(predictions) - widen(targets)


def _opposite(slope: Values, dy: Values, like: Array) -> tuple[Array, Array]:
    """Cotangents of predictions and targets where only their difference counts."""
    dpredictions = slope * dy
    return narrow(dpredictions, like), narrow(-dpredictions, like)
