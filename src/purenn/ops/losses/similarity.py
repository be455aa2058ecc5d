"""Losses of vectors: of the angle between them, or of the distance."""

import math
from typing import NamedTuple

import numpy as np

from purenn.contract import check_number, rule, unchecked
from purenn.ops._axes import Axis, axes_of, from_lanes, lanes
from purenn.ops._numerics import difference, narrow, product, quiet, scaled_sigmoid, widen
from purenn.ops.activations import softplus
from purenn.typing import Annotated, Array, Float, Int, OneOf, Pullback, Shape

__all__ = [
    "cosine_distance",
    "cosine_distance_vjp",
    "cosine_similarity",
    "cosine_similarity_vjp",
    "ntxent",
    "ntxent_vjp",
    "triplet_margin_loss",
    "triplet_margin_loss_vjp",
]


class _Direction(NamedTuple):
    """Vectors along the last axis, normalized."""

    unit: Array
    """Of length 1, or shorter where the floor makes it so; 0 for a vector of zeros."""
    length: Array
    """The length of ``unit``."""
    norm: Array
    """What the vector was divided by: its own norm, or the floor."""
    moves: Array
    """How much of its own length moves ``norm``: 1, or 0 below the floor, ½ at it."""

    def pullback(self, dunit: Array) -> Array:
        """(dû − û⟨û, dû⟩)/norm, without the second term where the norm is the floor.

        At the largest entry, which may be almost ±1, the two terms cancel. With the sums over the
        others r = Σû² = 1 − û₁² and t = Σû·dû the difference is r·dû₁ − û₁·t there.
        """
        if not dunit.size:
            return dunit
        top = np.argmax(np.abs(self.unit), axis=-1, keepdims=True)
        unit_top, dunit_top = (np.take_along_axis(v, top, -1) for v in (self.unit, dunit))
        others = self.unit.copy()
        np.put_along_axis(others, top, 0, -1)
        along = np.sum(others * dunit, axis=-1, keepdims=True)
        rest = np.sum(np.square(others), axis=-1, keepdims=True)
        orthogonal = dunit - self.moves * (along + unit_top * dunit_top) * self.unit
        at_top = np.take_along_axis(orthogonal, top, -1)
        at_top = np.where(self.moves == 1, rest * dunit_top - unit_top * along, at_top)
        np.put_along_axis(orthogonal, top, at_top, -1)
        return np.where(self.norm > 0, orthogonal, 0) / np.where(self.norm > 0, self.norm, 1)


class _Distance(NamedTuple):
    """A norm and its derivative."""

    length: Array
    slope: Array


@rule
@quiet
def cosine_similarity(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> Float[Array, "..."]:
    """⟨a, b⟩/(‖a‖·‖b‖) along ``axis``, with a = predictions and b = targets.

    No norm counts for less than √``epsilon``. The similarity of a vector of zeros is 0: with
    ``epsilon`` = 0 that is chosen, not found (optax: NaN).

    Raises:
        DomainError: ``epsilon`` is not finite and ≥ 0.
        DtypeError: it is no number, or ``axis`` no int, tuple of ints or None.
        ShapeError: there is no such axis.
    """
    axes = axes_of("cosine_similarity", predictions, axis, "predictions")
    a, b = _units("cosine_similarity", predictions, targets, epsilon, axes)
    return narrow(np.sum(a.unit * b.unit, axis=-1), predictions)


@rule
@quiet
def cosine_similarity_vjp(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``cosine_similarity`` with its pullback.

    With â = a/‖a‖ and s = ⟨â, b̂⟩: da = (b̂ − s·â)·dL/‖a‖, the part of b̂ that is orthogonal to a.
    Below the floor, where the norm is √ε whatever a is, da = b̂·dL/√ε; at the kink ‖a‖² = ε
    halfway between, as in ``jnp.maximum``. A vector of zeros with ε = 0 gets 0.
    Norms are of a divided by a power of two near its largest entry: squares of 1e-30 or 1e30
    are out of float32.
    """
    axes = axes_of("cosine_similarity", predictions, axis, "predictions")
    a, b = _units("cosine_similarity", predictions, targets, epsilon, axes)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)[..., np.newaxis]
        da, db = a.pullback(b.unit * wide), b.pullback(a.unit * wide)
        return (
            narrow(from_lanes(da, predictions, axes), predictions),
            narrow(from_lanes(db, targets, axes), targets),
        )

    return narrow(np.sum(a.unit * b.unit, axis=-1), predictions), pullback


@rule
@quiet
def cosine_distance(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> Float[Array, "..."]:
    """1 − cosine_similarity, as ½‖â − b̂‖² with â = a/‖a‖: no digit is lost at small angles.

    Where the floor ``epsilon`` makes a unit vector shorter than 1, ½(1 − ‖â‖²) is added for it.
    A vector of zeros is at distance 1 from all.

    Raises:
        DomainError: ``epsilon`` is not finite and ≥ 0.
        DtypeError: it is no number, or ``axis`` no int, tuple of ints or None.
        ShapeError: there is no such axis.
    """
    axes = axes_of("cosine_distance", predictions, axis, "predictions")
    a, b = _units("cosine_distance", predictions, targets, epsilon, axes)
    short = sum((1 - v.length) * (1 + v.length) for v in (a, b))
    twice = np.sum(np.square(a.unit - b.unit), axis=-1) + np.squeeze(short, -1)
    return narrow(twice / 2, predictions)


@rule
def cosine_distance_vjp(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """``cosine_distance`` with its pullback, minus that of ``cosine_similarity``.

    The digits that 1 − ⟨a, b⟩/(‖a‖·‖b‖) loses at small angles are those of the value alone.
    """
    y = unchecked(cosine_distance)(predictions, targets, epsilon=epsilon, axis=axis)
    _, through = unchecked(cosine_similarity_vjp)(predictions, targets, epsilon=epsilon, axis=axis)
    return y, lambda dy: through(narrow(-dy, dy))


@rule
def triplet_margin_loss(
    anchors: Float[Array, "*batch features"],
    positives: Float[Array, "*batch features"],
    negatives: Float[Array, "*batch features"],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
    norm_degree: float = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
) -> Float[Array, "..."]:
    """max(0, ‖anchor − positive‖ − ‖anchor − negative‖ + margin) along ``axis``.

    The norm is (Σ|d|ᵏ + ε)^(1/k) with k = ``norm_degree``. (optax takes dᵏ without the absolute
    value, which is the same for even k and no norm for others.)

    Raises:
        DomainError: ``norm_degree`` is not within [1, 512], ``eps`` is not finite and ≥ 0, or
            ``margin`` is not finite.
        DtypeError: one of them is no number, or ``axis`` no int, tuple of ints or None.
        ShapeError: there is no such axis.

    Balntas et al., *Learning local feature descriptors with triplets and shallow convolutional
    neural networks*, BMVC 2016.
    """
    return unchecked(triplet_margin_loss_vjp)(
        anchors, positives, negatives, axis=axis, norm_degree=norm_degree, margin=margin, eps=eps
    )[0]


@rule
def triplet_margin_loss_vjp(
    anchors: Float[Array, "*batch features"],
    positives: Float[Array, "*batch features"],
    negatives: Float[Array, "*batch features"],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
    norm_degree: float = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
) -> tuple[Float[Array, "..."], Pullback]:
    """``triplet_margin_loss`` with its pullback.

    The norm D of d has ∂D/∂dᵢ = sgn(dᵢ)·(|dᵢ|/D)^(k − 1), which is at most 1; it is 0 at dᵢ = 0,
    also at the kink that k = 1 has there, and where D = 0. With u the one of anchor − positive
    and v that of anchor − negative: danchors = (u − v)·dL, dpositives = −u·dL, dnegatives = v·dL
    where the loss is > 0; 0 where it is cut off, half at the kink, as in ``jnp.maximum``.
    It is computed as |dᵢ|^(k − 1)·D/Dᵏ: the quotient as written is rounded before its power, and
    |dᵢ|ᵏ itself, as autodiff has it, leaves the range of the dtype. What remains is that u − v
    cancels where positive and negative are almost in one direction, and the loss where their
    distances are large against their difference, as in any form.
    """
    name = "triplet_margin_loss"
    axes = axes_of(name, anchors, axis, "anchors")
    degree = check_number(name, "norm_degree", norm_degree, ge=1, le=512)
    margin = check_number(name, "margin", margin)
    eps = check_number(name, "eps", eps, ge=0)
    near, far = (
        _distance(lanes(anchors, axes), lanes(x, axes), degree, eps) for x in (positives, negatives)
    )
    excess = _excess(near.length, far.length, margin)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        active = np.heaviside(excess, 0.5) * widen(dy)[..., np.newaxis]
        cotangents = ((near.slope - far.slope) * active, -near.slope * active, far.slope * active)
        danchors, dpositives, dnegatives = (
            narrow(from_lanes(cotangent, anchors, axes), anchors) for cotangent in cotangents
        )
        return danchors, dpositives, dnegatives

    return narrow(np.maximum(excess, 0)[..., 0], anchors), pullback


@quiet
def _excess(near: Array, far: Array, margin: float) -> Array:
    """near − far + margin with what rounding cuts off the first difference."""
    lead, lost = difference(near, far)
    total, more = difference(lead, -margin)
    return np.asarray(total + (lost + more))


@rule
def ntxent(
    embeddings: Float[Array, "batch features"],
    labels: Int[Array, "batch"],
    *,
    temperature: float = 0.07,
) -> Float[Array, ""]:
    """Normalized temperature-scaled cross-entropy of all pairs, their mean: a scalar.

    For i ≠ j of one label, −log(eˣ/(eˣ + Σₖe^xᵢₖ)) with x = xᵢⱼ = cos(embeddingᵢ,
    embeddingⱼ)/temperature, k over all of other labels than i. As in optax the mean is over the
    ordered pairs; it is 0 where there are none. The cosine is that of :func:`cosine_similarity`
    with ε = 0 (optax: the machine epsilon of the dtype).

    Raises:
        DomainError: ``temperature`` is not finite and > 0, or its inverse is not finite.
        DtypeError: it is no number.

    Chen et al., *A simple framework for contrastive learning of visual representations*, ICML
    2020, arXiv:2002.05709.
    """
    return unchecked(ntxent_vjp)(embeddings, labels, temperature=temperature)[0]


@rule
@quiet
def ntxent_vjp(
    embeddings: Float[Array, "batch features"],
    labels: Int[Array, "batch"],
    *,
    temperature: float = 0.07,
) -> tuple[Float[Array, ""], Pullback]:
    """``ntxent`` with its pullback.

    The loss of a pair is softplus(lᵢ − xᵢⱼ), lᵢ = log Σₖe^xᵢₖ over the negatives: nothing
    overflows, and what is well told apart keeps its digits where −log of a ratio near 1 has none.
    With gᵢⱼ = σ(lᵢ − xᵢⱼ)·dL/pairs: dxᵢⱼ = −gᵢⱼ at pairs, dxᵢₖ = pᵢₖ·Σⱼgᵢⱼ at negatives, p = eˣ
    over their sum. x is ÊÊᵀ/temperature with the unit vectors Ê, so dÊ = (dx + dxᵀ)Ê/temperature.
    """
    least = float(np.finfo(np.float64).tiny)
    temperature = check_number("ntxent", "temperature", temperature, ge=least)
    each = _unit(embeddings, 0.0)
    x = each.unit @ each.unit.T / temperature
    same = labels[:, np.newaxis] == labels
    pairs = same & ~np.eye(len(labels), dtype=bool)
    count = max(int(np.sum(pairs)), 1)
    top: Array = np.max(x, axis=1, keepdims=True, initial=-1 / temperature, where=~same)
    e = np.where(same, 0, np.exp(np.minimum(x - top, 0)))
    total = np.sum(e, axis=1, keepdims=True)
    some = total > 0
    log_total = np.where(some, top + np.log(np.where(some, total, 1)), -np.inf)
    excess = log_total - x
    losses = np.where(pairs, unchecked(softplus)(excess), 0)

    @quiet
    def pullback(dy: Array) -> tuple[Array, None]:
        g = np.where(pairs, scaled_sigmoid(widen(dy) / (count * temperature), excess), 0)
        p = e / np.where(some, total, 1)
        dx = np.sum(g, axis=1, keepdims=True) * p - g
        return narrow(each.pullback((dx + dx.T) @ each.unit), embeddings), None

    return narrow(np.sum(losses) / count, embeddings), pullback


def _units(
    name: str, predictions: Array, targets: Array, epsilon: float, axes: Shape
) -> tuple[_Direction, _Direction]:
    epsilon = check_number(name, "epsilon", epsilon, ge=0)
    return _unit(lanes(predictions, axes), epsilon), _unit(lanes(targets, axes), epsilon)


@quiet
def _unit(x: Array, epsilon: float) -> _Direction:
    """x/max(‖x‖, √ε). A power of two near its largest entry is taken out, and put back exactly.

    An infinite entry has the direction to itself; several have none, NaN.
    """
    wide, floor = widen(x), math.sqrt(epsilon)
    top = np.max(np.abs(wide), axis=-1, keepdims=True, initial=0)
    _, exponent = np.frexp(top)
    infinite = np.isinf(wide)
    scaled = np.where(np.isinf(top), np.sign(wide) * infinite, np.ldexp(wide, -exponent))
    scaled = np.where(np.sum(infinite, axis=-1, keepdims=True) > 1, np.nan, scaled)
    square = np.sum(np.square(scaled), axis=-1, keepdims=True)
    scaled_norm = np.sqrt(square)
    norm = np.where(np.isinf(top), top, np.ldexp(scaled_norm, exponent))
    moves = np.heaviside(square - np.ldexp(wide.dtype.type(epsilon), -2 * exponent), 0.5)
    length = np.where(norm >= floor, 1, norm / (floor or 1)) * (norm > 0)
    unit = scaled / np.where(norm > 0, scaled_norm, 1) * length
    return _Direction(unit, length, np.maximum(norm, floor), moves)


@quiet
def _distance(a: Array, b: Array, degree: float, eps: float) -> _Distance:
    """(Σ|d|ᵏ + ε)^(1/k) with d = a − b along the last axis.

    A power of two near the largest is taken out, so that no power overflows: |d|ᵏ does at 1e30
    and k = 11, in float64. It leaves all digits, ε its own: ε·2⁻ᵏⁱ has the fraction of k·i only
    in exp2. What rounding cut off d counts k times in its power.
    """
    d, lost = difference(a.astype(np.float64), b.astype(np.float64))
    size = np.abs(d)
    fine = np.divide(lost, d, out=np.zeros_like(d), where=d != 0)
    top = np.max(size, axis=-1, keepdims=True, initial=eps ** (1 / degree))
    exponent = np.frexp(top)[1] - 1
    scaled = np.ldexp(size, -exponent)
    shift, rest = product(exponent.astype(np.float64), degree)
    whole = np.rint(np.clip(shift, -2000, 2000))
    part = np.exp2(np.clip(whole - shift - rest, -1, 1))
    floor = np.ldexp(eps * part, -whole.astype(int))
    terms = scaled**degree
    terms += terms * (degree * fine)
    powers = np.sum(terms, axis=-1, keepdims=True) + floor
    root = powers ** (1 / degree)
    slope = np.sign(d) * scaled ** (degree - 1)
    slope += slope * ((degree - 1) * fine)
    some = powers > 0
    slope *= root / np.where(some, powers, 1)
    return _Distance(np.ldexp(root, exponent), slope)
