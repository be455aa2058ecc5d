"""Kullback-Leibler divergences of a prediction, given as its logarithm, from a target.

A target t = 0 adds nothing to t·log t, the limit. Its slope log t + 1 is −∞ there, of which no
step could be made, and NaN in JAX's autodiff of optax: here t·log t counts as constant at 0.
"""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._axes import Axis, axes_of
from purenn.ops._numerics import above_tangent, decay, narrow, quiet, widen
from purenn.ops.losses._terms import weighted
from purenn.typing import Annotated, Array, Float, Interval, OneOf, Pullback, Shape, Values

__all__ = [
    "convex_kl_divergence",
    "convex_kl_divergence_vjp",
    "generalized_kl_divergence",
    "generalized_kl_divergence_vjp",
    "kl_divergence",
    "kl_divergence_vjp",
    "kl_divergence_with_log_targets",
    "kl_divergence_with_log_targets_vjp",
]


@rule
@quiet
def kl_divergence(
    log_predictions: Float[Array, "*batch dim"],
    targets: Annotated[Float[Array, "*batch dim"], Interval(ge=0)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> Float[Array, "..."]:
    """Σ t·(log t − log p) along ``axis``, with 0·log 0 = 0 (Kullback & Leibler 1951).

    Raises:
        ShapeError: there is no such axis.
        DtypeError: ``axis`` is no int, tuple of ints or None.
    """
    axes = axes_of("kl_divergence", log_predictions, axis, "log_predictions")
    t, log_p = widen(targets), widen(log_predictions)
    return narrow(np.sum(weighted(t, _log(t) - log_p), axis=axes), log_predictions)


@rule
def kl_divergence_vjp(
    log_predictions: Float[Array, "*batch dim"],
    targets: Annotated[Float[Array, "*batch dim"], Interval(ge=0)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``kl_divergence`` with its pullback.

    dlog_predictions = −t·dL and dtargets = (log t + 1 − log p)·dL; at t = 0, where log t is −∞,
    dtargets = −log p·dL. Nothing else is lost in the textbook form, of which autodiff is NaN there.
    """
    axes = axes_of("kl_divergence", log_predictions, axis, "log_predictions")

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide, t = np.expand_dims(widen(dy), axes), widen(targets)
        slope = _log(t) + (t > 0) - widen(log_predictions)
        return narrow(-t * wide, log_predictions), narrow(weighted(wide, slope), targets)

    return unchecked(kl_divergence)(log_predictions, targets, axis=axis), pullback


@rule
@quiet
def kl_divergence_with_log_targets(
    log_predictions: Float[Array, "*batch dim"],
    log_targets: Float[Array, "*batch dim"],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> Float[Array, "..."]:
    """Σ t·(log t − log p) along ``axis``, given log t; a log t of −∞ adds nothing.

    Raises:
        ShapeError: there is no such axis.
        DtypeError: ``axis`` is no int, tuple of ints or None.
    """
    name = "kl_divergence_with_log_targets"
    axes = axes_of(name, log_predictions, axis, "log_predictions")
    terms = _times_exponential(_excess(log_predictions, log_targets), log_targets)
    return narrow(np.sum(terms, axis=axes), log_predictions)


@rule
def kl_divergence_with_log_targets_vjp(
    log_predictions: Float[Array, "*batch dim"],
    log_targets: Float[Array, "*batch dim"],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``kl_divergence_with_log_targets`` with its pullback.

    dlog_predictions = −t·dL and dlog_targets = t·(log t − log p + 1)·dL, with t = e^(log t).
    Autodiff of the textbook form is 0·∞ = NaN at log t = −∞, and loses digits where t is subnormal
    and dL large: here e^(log t) is not taken by itself.
    """
    name = "kl_divergence_with_log_targets"
    axes = axes_of(name, log_predictions, axis, "log_predictions")

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = np.expand_dims(widen(dy), axes)
        slope = 1 + _excess(log_predictions, log_targets)
        return (
            narrow(_times_exponential(-wide, log_targets), log_predictions),
            narrow(_times_exponential(weighted(wide, slope), log_targets), log_targets),
        )

    y = unchecked(kl_divergence_with_log_targets)(log_predictions, log_targets, axis=axis)
    return y, pullback


@rule
@quiet
def generalized_kl_divergence(
    log_predictions: Float[Array, "*batch dim"],
    targets: Annotated[Float[Array, "*batch dim"], Interval(ge=0)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> Float[Array, "..."]:
    """Σ t·(log t − log p) + p − t along ``axis``: ≥ 0, whether t and p add up to 1 or not.

    The Bregman divergence of t·log t − t (Boyd & Vandenberghe, p. 90). With u = log t − log p
    each term is t·(e⁻ᵘ − 1 + u), which is of the order of u²: the sum as written is of numbers
    of the order of t, and loses all of its digits where the prediction is good.

    Raises:
        ShapeError: there is no such axis.
        DtypeError: ``axis`` is no int, tuple of ints or None.
    """
    return _generalized("generalized_kl_divergence", log_predictions, targets, axis)[0]


@rule
def generalized_kl_divergence_vjp(
    log_predictions: Float[Array, "*batch dim"],
    targets: Annotated[Float[Array, "*batch dim"], Interval(ge=0)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``generalized_kl_divergence`` with its pullback.

    dlog_predictions = (p − t)·dL and dtargets = (log t − log p)·dL; at t = 0, where log t is −∞,
    dtargets = (−log p − 1)·dL. Autodiff of the sum as written adds log t + 1 and −1, which leaves
    the rounding of the first, and is NaN at t = 0.
    """
    return _generalized("generalized_kl_divergence", log_predictions, targets, axis)


def _generalized(
    name: str, log_predictions: Array, targets: Array, axis: Axis
) -> tuple[Array, Pullback]:
    axes = axes_of(name, log_predictions, axis, "log_predictions")

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide, t, log_p = np.expand_dims(widen(dy), axes), widen(targets), widen(log_predictions)
        # One product rounds less than two, where e^(log p) has all its digits.
        dlog_predictions = np.where(
            np.abs(log_p) < 700,
            weighted(wide, np.exp(log_p) - t),
            _times_exponential(wide, log_p) - t * wide,
        )
        slope = _log(t) - (t == 0) - log_p
        return narrow(dlog_predictions, log_predictions), narrow(weighted(wide, slope), targets)

    return narrow(_bregman(log_predictions, targets, axes), log_predictions), pullback


@rule
@quiet
def convex_kl_divergence(
    log_predictions: Float[Array, "*batch dim"],
    targets: Annotated[Float[Array, "*batch dim"], Interval(ge=0)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> Float[Array, "..."]:
    """``generalized_kl_divergence`` under the name that optax had for it first."""
    return _generalized("convex_kl_divergence", log_predictions, targets, axis)[0]


@rule
def convex_kl_divergence_vjp(
    log_predictions: Float[Array, "*batch dim"],
    targets: Annotated[Float[Array, "*batch dim"], Interval(ge=0)],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``convex_kl_divergence`` with its pullback, that of ``generalized_kl_divergence``."""
    return _generalized("convex_kl_divergence", log_predictions, targets, axis)


def _log(t: Values) -> Array:
    """log t, and 0 at t = 0, as it only comes in t·log t."""
    return np.asarray(np.log(t + (t == 0)))


@quiet
def _excess(log_predictions: Array, log_targets: Array) -> Array:
    """log t − log p, and 0 where t = 0."""
    log_t = widen(log_targets)
    known = log_t > -np.inf
    return np.subtract(log_t, widen(log_predictions), out=np.zeros_like(log_t), where=known)


@quiet
def _times_exponential(scale: Values, u: Values) -> Array:
    """scale·eᵘ, right also where eᵘ alone would be infinite or subnormal; 0·∞ = 0."""
    wide = widen(u)
    half = np.exp(np.maximum(wide - 80, 0) / 2)
    return np.asarray(np.where(scale == 0, 0, decay(scale, np.minimum(wide, 80)) * half * half))


@quiet
def _bregman(log_predictions: Array, targets: Array, axes: Shape) -> Array:
    """Σ t·(e⁻ᵘ − 1 + u) with u = log t − log p.

    Where p is the larger by far it is p·(1 − r·(1 − log r)) with r = t/p: e⁻ᵘ and u have lost
    digits that p and r have.
    """
    t, log_p = widen(targets), widen(log_predictions)
    u = _log(t) - log_p
    ratio = np.clip(_times_exponential(t, -log_p), 1e-300, 0.5)
    large = _times_exponential(1 - ratio * (1 - np.log(ratio)), log_p)
    terms = np.where((t > 0) & ~(u < -1), t * above_tangent(-np.maximum(u, -1)), large)
    return np.asarray(np.sum(terms, axis=axes))
