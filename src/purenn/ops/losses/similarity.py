"""Losses of vectors: of the angle between them, or of the distance."""

import math
from typing import NamedTuple

import numpy as np

from purenn.contract import rule, unchecked
from purenn.errors import DomainError, ShapeError
from purenn.ops._numerics import narrow, scaled_sigmoid, widen
from purenn.ops.activations import softplus
from purenn.typing import Annotated, Array, Float, Int, OneOf, Pullback, Values


class Direction(NamedTuple):
    """A vector, or many, normalized; the axis that it lies along is kept."""

    unit: Array
    """Of length 1, or shorter where the floor makes it so; 0 for a vector of zeros."""
    length: Array
    """The length of ``unit``."""
    norm: Array
    """What the vector was divided by: its own norm, or the floor."""
    moves: Array
    """How much of its own length moves ``norm``: 1, or 0 below the floor, ½ at it."""

    def pullback(self, dunit: Values, axis: int) -> Values:
        """(dû − û⟨û, dû⟩)/norm, without the second term where the norm is the floor.

        At the largest entry, which may be almost ±1, the two terms cancel. With the sums over the
        others r = Σû² = 1 − û₁² and t = Σû·dû the difference is r·dû₁ − û₁·t there.
        """
        if not dunit.size:
            return dunit
        top = np.argmax(np.abs(self.unit), axis=axis, keepdims=True)
        unit_top, dunit_top = (np.take_along_axis(v, top, axis) for v in (self.unit, dunit))
        others = self.unit.copy()
        np.put_along_axis(others, top, 0, axis)
        along = np.sum(others * dunit, axis=axis, keepdims=True)
        rest = np.sum(np.square(others), axis=axis, keepdims=True)
        orthogonal = dunit - self.moves * (along + unit_top * dunit_top) * self.unit
        at_top = np.take_along_axis(orthogonal, top, axis)
        at_top = np.where(self.moves == 1, rest * dunit_top - unit_top * along, at_top)
        np.put_along_axis(orthogonal, top, at_top, axis)
        return np.where(self.norm > 0, orthogonal, 0) / np.where(self.norm > 0, self.norm, 1)


class Distance(NamedTuple):
    """A norm and its derivative, the axis kept."""

    length: Array
    slope: Array


@rule
def cosine_similarity(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[int, OneOf(-1, 0)] = -1,
) -> Float[Array, "..."]:
    """⟨a, b⟩/(‖a‖·‖b‖) along ``axis``, with a = predictions and b = targets.

    No norm counts for less than √``epsilon``. The similarity of a vector of zeros is 0: with
    ``epsilon`` = 0 that is chosen, not found (optax: NaN).

    Raises:
        DomainError: ``epsilon`` is not finite and ≥ 0.
        ShapeError: there is no such axis.
    """
    a, b = _units("cosine_similarity", predictions, targets, epsilon, axis)
    return narrow(np.sum(a.unit * b.unit, axis=axis), predictions)


@rule
def cosine_similarity_vjp(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[int, OneOf(-1, 0)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """cosine_similarity with its pullback.

    With â = a/‖a‖ and s = ⟨â, b̂⟩: da = (b̂ − s·â)·dL/‖a‖, the part of b̂ that is orthogonal to a.
    Below the floor, where the norm is √ε whatever a is, da = b̂·dL/√ε; at the kink ‖a‖² = ε
    halfway between, as in ``jnp.maximum``. A vector of zeros with ε = 0 gets 0.
    Norms are of a divided by a power of two near its largest entry: squares of 1e-30 or 1e30
    are out of float32.
    """
    a, b = _units("cosine_similarity", predictions, targets, epsilon, axis)

    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = np.expand_dims(widen(dy), axis)
        da, db = a.pullback(b.unit * wide, axis), b.pullback(a.unit * wide, axis)
        return narrow(da, predictions), narrow(db, targets)

    return narrow(np.sum(a.unit * b.unit, axis=axis), predictions), pullback


@rule
def cosine_distance(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[int, OneOf(-1, 0)] = -1,
) -> Float[Array, "..."]:
    """1 − cosine_similarity, as ½‖â − b̂‖² with â = a/‖a‖: no digit is lost at small angles.

    Where the floor ``epsilon`` makes a unit vector shorter than 1, ½(1 − ‖â‖²) is added for it.
    A vector of zeros is at distance 1 from all.

    Raises:
        DomainError: ``epsilon`` is not finite and ≥ 0.
        ShapeError: there is no such axis.
    """
    a, b = _units("cosine_distance", predictions, targets, epsilon, axis)
    short = sum((1 - v.length) * (1 + v.length) for v in (a, b))
    twice = np.sum(np.square(a.unit - b.unit), axis=axis) + np.squeeze(short, axis)
    return narrow(twice / 2, predictions)


@rule
def cosine_distance_vjp(
    predictions: Float[Array, "*batch features"],
    targets: Float[Array, "*batch features"],
    *,
    epsilon: float = 0.0,
    axis: Annotated[int, OneOf(-1, 0)] = -1,
) -> tuple[Float[Array, "..."], Pullback]:
    """cosine_distance with its pullback: minus that of cosine_similarity."""
    y = unchecked(cosine_distance)(predictions, targets, epsilon=epsilon, axis=axis)
    _, similarity_pullback = unchecked(cosine_similarity_vjp)(
        predictions, targets, epsilon=epsilon, axis=axis
    )
    return y, lambda dy: similarity_pullback(narrow(-dy, dy))


@rule
def triplet_margin_loss(
    anchors: Float[Array, "*batch features"],
    positives: Float[Array, "*batch features"],
    negatives: Float[Array, "*batch features"],
    *,
    axis: Annotated[int, OneOf(-1, 0)] = -1,
    norm_degree: int | float = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
) -> Float[Array, "..."]:
    """max(0, ‖anchor − positive‖ − ‖anchor − negative‖ + margin) along ``axis``.

    The norm is (Σ|d|ᵏ + ε)^(1/k) with k = ``norm_degree``. (optax takes dᵏ without the absolute
    value, which is the same for even k and no norm for others.)

    Raises:
        DomainError: ``norm_degree`` is not finite and ≥ 1, ``eps`` is not finite and ≥ 0, or
            ``margin`` is not finite.
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
    axis: Annotated[int, OneOf(-1, 0)] = -1,
    norm_degree: int | float = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
) -> tuple[Float[Array, "..."], Pullback]:
    """triplet_margin_loss with its pullback.

    The norm D of d has ∂D/∂dᵢ = sgn(dᵢ)·(|dᵢ|/D)^(k − 1), which is at most 1; it is 0 at dᵢ = 0,
    also at the kink that k = 1 has there, and where D = 0. With u the one of anchor − positive
    and v that of anchor − negative: danchors = (u − v)·dL, dpositives = −u·dL, dnegatives = v·dL
    where the loss is > 0; 0 where it is cut off, half at the kink, as in ``jnp.maximum``.
    """
    _check_axis("triplet_margin_loss", "anchors", anchors, axis)
    if not 1 <= norm_degree < math.inf:
        raise DomainError(
            f"triplet_margin_loss: norm_degree is {norm_degree}, expected finite and ≥ 1"
        )
    if not 0 <= eps < math.inf:
        raise DomainError(f"triplet_margin_loss: eps is {eps}, expected finite and ≥ 0")
    if not math.isfinite(margin):
        raise DomainError(f"triplet_margin_loss: margin is {margin}, expected finite")
    near, far = (
        _distance(widen(anchors) - widen(x), axis, float(norm_degree), eps)
        for x in (positives, negatives)
    )
    excess = near.length - far.length + margin

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        active = np.heaviside(excess, 0.5) * np.expand_dims(widen(dy), axis)
        danchors = (near.slope - far.slope) * active
        return (
            narrow(danchors, anchors),
            narrow(-near.slope * active, positives),
            narrow(far.slope * active, negatives),
        )

    return narrow(np.squeeze(np.maximum(excess, 0), axis), anchors), pullback


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

    Raises DomainError unless ``temperature`` is finite and > 0.

    Chen et al., *A simple framework for contrastive learning of visual representations*, ICML
    2020, arXiv:2002.05709.
    """
    return unchecked(ntxent_vjp)(embeddings, labels, temperature=temperature)[0]


@rule
def ntxent_vjp(
    embeddings: Float[Array, "batch features"],
    labels: Int[Array, "batch"],
    *,
    temperature: float = 0.07,
) -> tuple[Float[Array, ""], Pullback]:
    """ntxent with its pullback.

    The loss of a pair is softplus(lᵢ − xᵢⱼ), lᵢ = log Σₖe^xᵢₖ over the negatives: nothing
    overflows, and what is well told apart keeps its digits where −log of a ratio near 1 has none.
    With gᵢⱼ = σ(lᵢ − xᵢⱼ)·dL/pairs: dxᵢⱼ = −gᵢⱼ at pairs, dxᵢₖ = pᵢₖ·Σⱼgᵢⱼ at negatives, p = eˣ
    over their sum. x is ÊÊᵀ/temperature with the unit vectors Ê, so dÊ = (dx + dxᵀ)Ê/temperature.
    """
    if not 0 < temperature < math.inf:
        raise DomainError(f"ntxent: temperature is {temperature}, expected finite and > 0")
    each = _unit(embeddings, 0.0, -1)
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

    def pullback(dy: Array) -> tuple[Array, None]:
        g = np.where(pairs, scaled_sigmoid(widen(dy) / (count * temperature), excess), 0)
        p = e / np.where(some, total, 1)
        dx = np.sum(g, axis=1, keepdims=True) * p - g
        return narrow(each.pullback((dx + dx.T) @ each.unit, -1), embeddings), None

    return narrow(np.sum(losses) / count, embeddings), pullback


def _units(
    name: str, predictions: Array, targets: Array, epsilon: float, axis: int
) -> tuple[Direction, Direction]:
    _check_axis(name, "predictions", predictions, axis)
    if not 0 <= epsilon < math.inf:
        raise DomainError(f"{name}: epsilon is {epsilon}, expected finite and ≥ 0")
    return _unit(predictions, epsilon, axis), _unit(targets, epsilon, axis)


def _unit(x: Array, epsilon: float, axis: int) -> Direction:
    """x/max(‖x‖, √ε). A power of two near its largest entry is taken out, and put back exactly."""
    wide, floor = widen(x), math.sqrt(epsilon)
    _, exponent = np.frexp(np.max(np.abs(wide), axis=axis, keepdims=True, initial=0))
    scaled = np.ldexp(wide, -exponent)
    square = np.sum(np.square(scaled), axis=axis, keepdims=True)
    scaled_norm = np.sqrt(square)
    with np.errstate(over="ignore"):
        norm = np.ldexp(scaled_norm, exponent)
        moves = np.heaviside(square - np.ldexp(wide.dtype.type(epsilon), -2 * exponent), 0.5)
    length = np.where(norm >= floor, 1, norm / (floor or 1)) * (norm > 0)
    unit = scaled / np.where(norm > 0, scaled_norm, 1) * length
    return Direction(unit, length, np.maximum(norm, floor), moves)


def _distance(d: Array, axis: int, degree: float, eps: float) -> Distance:
    """(Σ|d|ᵏ + ε)^(1/k): ε is the k-th power of one more coordinate, and the largest is taken out.

    No power overflows or underflows: |d|ᵏ does at 1e30 and k = 11, in float64.
    """
    size, more = np.abs(d), eps ** (1 / degree)
    top = np.max(size, axis=axis, keepdims=True, initial=more)
    some = np.where(top > 0, top, 1)
    powers = np.sum((size / some) ** degree, axis=axis, keepdims=True) + (more / some) ** degree
    length = top * powers ** (1 / degree)
    slope = np.sign(d) * (size / np.where(length > 0, length, 1)) ** (degree - 1)
    return Distance(length, slope)


def _check_axis(name: str, argument: str, x: Array, axis: int) -> None:
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{name}: axis is {axis}, but {argument} has shape {x.shape}")
