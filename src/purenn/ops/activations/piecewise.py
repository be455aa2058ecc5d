"""Activations made of pieces, straight ones and parabolas."""

import numpy as np

from purenn.contract import check_broadcasts, check_integer, check_number, rule, unchecked
from purenn.errors import ShapeError
from purenn.ops._axes import axis_of
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import (
    at_least_single,
    either,
    masked,
    narrow,
    negative_part,
    positive_part,
    quiet,
    unbroadcast,
    where_positive,
    widen,
)
from purenn.typing import Array, Float, Pullback, Values

__all__ = [
    "bipolar_relu",
    "bipolar_relu_vjp",
    "hard_sigmoid",
    "hard_sigmoid_vjp",
    "hard_silu",
    "hard_silu_vjp",
    "hard_tanh",
    "hard_tanh_vjp",
    "heaviside",
    "heaviside_vjp",
    "identity",
    "identity_vjp",
    "leaky_relu",
    "leaky_relu_vjp",
    "maxout",
    "maxout_vjp",
    "prelu",
    "prelu_vjp",
    "relu",
    "relu6",
    "relu6_vjp",
    "relu_vjp",
    "sparse_plus",
    "sparse_plus_vjp",
    "sparse_sigmoid",
    "sparse_sigmoid_vjp",
]


@rule
def identity(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x, in an array of its own."""
    return x.copy()


@rule
def identity_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``identity`` with its pullback, the identity: nothing is lost, and there is no kink."""
    return x.copy(), lambda dy: (dy.copy(),)


@rule
def relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(x, 0) (Nair & Hinton 2010, "Rectified linear units improve restricted Boltzmann …")."""
    return narrow(positive_part(x), x)


@rule
def relu_vjp(
    x: Float[Array, "*shape"],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``relu`` with its pullback.

    relu′(x) = 1 for x > 0, else 0. At the kink x = 0 the derivative is 0, as in ``jax.nn.relu``.
    Nothing is lost; a product with the 0 would be NaN for an infinite dy.
    """
    return unchecked(relu)(x), lambda dy: (where_positive(x, dy),)


@rule
@elementwise
def relu6(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """min(max(x, 0), 6) (Krizhevsky 2010, "Convolutional deep belief networks on CIFAR-10")."""
    return narrow(np.clip(at_least_single(x), 0, 6), x)


@rule
@elementwise
def relu6_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``relu6`` with its pullback.

    1 for 0 < x < 6, else 0, at both kinks as in ``jax.nn.relu6``. Nothing is lost.
    """
    return unchecked(relu6)(x), lambda dy: (masked(dy, (x > 0) & (x < 6)),)


@rule
@elementwise
def leaky_relu(
    x: Float[Array, "*shape"], *, negative_slope: float | int = 0.01
) -> Float[Array, "*shape"]:
    """x for x ≥ 0, else ``negative_slope``·x (Maas, Hannun & Ng 2013, ICML).

    Raises DomainError where ``negative_slope`` is not finite, DtypeError where it is no number.
    """
    slope = check_number("leaky_relu", "negative_slope", negative_slope)
    below = _times(at_least_single(negative_part(x)), slope)
    return narrow(at_least_single(positive_part(x)) + below, x)


@rule
@elementwise
def leaky_relu_vjp(
    x: Float[Array, "*shape"], *, negative_slope: float | int = 0.01
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``leaky_relu`` with its pullback.

    The derivative is 1 for x ≥ 0, else ``negative_slope``; at the kink x = 0 it is 1, as in
    ``jax.nn.leaky_relu``. Nothing is lost.
    """
    slope = check_number("leaky_relu", "negative_slope", negative_slope)

    def pullback(dy: Array) -> tuple[Array]:
        wide = at_least_single(dy)
        return (narrow(_times(wide, either(x >= 0, 1, slope, wide.dtype)), dy),)

    return unchecked(leaky_relu)(x, negative_slope=negative_slope), pullback


def _times(x: Values, slope: Values | float) -> Values:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(x * slope)


@rule
def prelu(
    x: Float[Array, "*shape"], negative_slope: Float[Array, "*slope"]
) -> Float[Array, "*shape"]:
    """x for x ≥ 0, else ``negative_slope``·x with a slope that is trained.

    One slope, one per feature of the last axis, or any shape that broadcasts to that of x (He et
    al. 2015, arXiv:1502.01852); ``flax.linen.PReLU`` has one.

    Raises ShapeError where it does not broadcast.
    """
    return narrow(_times(widen(x), _prelu_slopes(x, negative_slope)), x)


@rule
def prelu_vjp(
    x: Float[Array, "*shape"], negative_slope: Float[Array, "*slope"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``prelu`` with its pullback.

    dx is dy for x ≥ 0, else a·dy, a the slope; da = Σ min(x, 0)·dy over all x that share a.
    At the kink x = 0 the derivative is 1, as in ``flax.linen.PReLU``. The terms of the sum have
    either sign and may cancel, which loses digits in float32: they are added in pairs, in float64.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)
        terms = masked(wide * widen(x), ~(x >= 0))
        dslope = narrow(unbroadcast(terms, negative_slope.shape), negative_slope)
        return narrow(wide * _prelu_slopes(x, negative_slope), x), dslope

    return unchecked(prelu)(x, negative_slope), pullback


def _prelu_slopes(x: Array, negative_slope: Array) -> Values:
    told = f"that of x, {x.shape}"
    check_broadcasts("prelu", "negative_slope", negative_slope, x.shape, told)
    return np.where(x >= 0, 1, widen(negative_slope))


@rule
def bipolar_relu(x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
    """max(x, 0) on even features, min(x, 0) on odd ones, from 0 along the last axis.

    The mean of what comes out is about 0, whatever the depth (Eidnes & Nøkland 2017,
    arXiv:1709.04054).
    """
    return narrow(np.where(_odd(x), negative_part(x), positive_part(x)), x)


@rule
def bipolar_relu_vjp(
    x: Float[Array, "*batch features"],
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``bipolar_relu`` with its pullback.

    1 for x > 0 on even features and for x < 0 on odd ones, else 0. relu(x) and −relu(−x) have
    the derivative 0 at the kink x = 0, as in ``jax.nn.relu``. Nothing is lost.
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (masked(dy, np.where(_odd(x), x < 0, x > 0)),)

    return unchecked(bipolar_relu)(x), pullback


def _odd(x: Array) -> Array:
    return np.asarray(np.arange(x.shape[-1]) % 2 == 1)


@rule
def maxout(
    x: Float[Array, "*batch features"], *, num_units: int, axis: int = -1
) -> Float[Array, "..."]:
    """The largest of the pieces of each unit, with ``num_units`` units along ``axis``.

    A unit has as many features as its neighbour, side by side: x (…, units·pieces) becomes
    (…, units). The layout is that of ``chainer.functions.maxout`` and ``tfa.layers.Maxout``
    (Goodfellow et al. 2013, arXiv:1302.4389).

    Raises ShapeError where x has no such axis or its size is no positive multiple of
    ``num_units``, DomainError where that is not positive, DtypeError where either is no int.
    """
    pieces, along = _pieces(x, num_units, axis)
    return narrow(np.max(pieces, axis=along), x)


@rule
def maxout_vjp(
    x: Float[Array, "*batch features"], *, num_units: int, axis: int = -1
) -> tuple[Float[Array, "..."], Pullback]:
    """``maxout`` with its pullback.

    The largest piece of a unit has all of dy, the others 0. At the kink, a tie, the largest have
    equal shares, as in ``jax.numpy.max``. Nothing is lost: dy/count is rounded once.
    """
    pieces, along = _pieces(x, num_units, axis)

    def pullback(dy: Array) -> tuple[Array]:
        largest = pieces == np.max(pieces, axis=along, keepdims=True)
        count = np.maximum(np.sum(largest, axis=along), 1)
        share = np.expand_dims(narrow(at_least_single(dy) / count, x), along)
        return (masked(share, largest).reshape(x.shape),)

    return unchecked(maxout)(x, num_units=num_units, axis=axis), pullback


def _pieces(x: Array, num_units: int, axis: int) -> tuple[Array, int]:
    """``x`` with an axis of units in place of ``axis`` and one of their pieces behind it."""
    num_units, axis = (
        check_integer("maxout", "num_units", num_units, least=1),
        axis_of("maxout", x, axis),
    )
    size = x.shape[axis]
    if size < 1 or size % num_units:
        raise ShapeError(
            f"maxout: x has shape {x.shape}, expected a multiple of num_units = {num_units} "
            f"along axis {axis}"
        )
    shape = (*x.shape[:axis], num_units, size // num_units, *x.shape[axis + 1 :])
    return x.reshape(shape), axis + 1


@rule
def heaviside(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 for x ≥ 0, else 0: the unit step, which is ``jnp.heaviside(x, 1)``."""
    return narrow(np.heaviside(at_least_single(x), 1), x)


@rule
def heaviside_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``heaviside`` with its pullback: dx = 0, also at the jump x = 0, as in JAX.

    A step is flat wherever it has a derivative, so nothing in front of it can be trained: a small
    change of a weight changes no output, and the gradient is 0 however wrong the output is.
    Perceptrons leave the step out of their rule; deeper networks take a sigmoid in its place.
    """
    return unchecked(heaviside)(x), lambda dy: (np.zeros_like(dy),)


@rule
@elementwise
def hard_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """min(max(x, −1), 1) (Collobert 2004, "Large scale machine learning")."""
    return narrow(np.clip(at_least_single(x), -1, 1), x)


@rule
@elementwise
def hard_tanh_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``hard_tanh`` with its pullback.

    1 for |x| ≤ 1, else 0; at the kinks 1, as in ``jax.nn.hard_tanh`` (relu6 has 0 at its kinks).
    Nothing is lost.
    """
    return unchecked(hard_tanh)(x), lambda dy: (masked(dy, np.abs(x) <= 1),)


@rule
@elementwise
def hard_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """relu6(x + 3)/6 = min(max(x + 3, 0), 6)/6, as ``jax.nn.hard_sigmoid`` (Howard et al. 2019).

    Keras and ONNX have other slopes by default.
    """
    return narrow((np.clip(at_least_single(x), -3, 3) + 3) / 6, x)


@rule
@elementwise
def hard_sigmoid_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``hard_sigmoid`` with its pullback.

    1/6 for |x| < 3, else 0; at both kinks 0, as in ``jax.nn.hard_sigmoid``. Nothing is lost.
    """

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(masked(at_least_single(dy) / 6, np.abs(x) < 3), dy),)

    return unchecked(hard_sigmoid)(x), pullback


@rule
@elementwise
def hard_silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x·hard_sigmoid(x), also called hard_swish (Howard et al. 2019, arXiv:1905.02244)."""
    wide = at_least_single(x)
    return narrow(np.maximum(wide, -3) * ((np.clip(wide, -3, 3) + 3) / 6), x)


@rule
@elementwise
def hard_silu_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``hard_silu`` with its pullback.

    (2x + 3)/6 for |x| < 3, 0 below and 1 above; at the kinks −3 and 3 it is 0 and 1, as in
    ``jax.nn.hard_silu``. The textbook product rule, (x + 3)/6 + x/6, cancels around x = −1.5.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        wide, d = at_least_single(x), at_least_single(dy)
        inside = (2 * np.clip(wide, -3, 3) + 3) / 6
        return (narrow(np.where(wide >= 3, d, masked(d * inside, wide > -3)), x),)

    return unchecked(hard_silu)(x), pullback


@rule
@elementwise
def sparse_plus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0 for x ≤ −1, (x + 1)²/4 between, x for x ≥ 1: softplus with a true zero.

    From ``jax.nn.sparse_plus``; its derivative is sparse_sigmoid.
    """
    wide = at_least_single(x)
    return narrow(np.where(wide >= 1, wide, np.square(np.clip(wide, -1, 1) + 1) / 4), x)


@rule
@elementwise
def sparse_plus_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``sparse_plus`` with its pullback.

    sparse_sigmoid(x)·dy, with one 1 + x, which is exact around its zero: nothing is lost. It has no
    kink.
    """

    @np.errstate(invalid="ignore")
    def pullback(dy: Array) -> tuple[Array]:
        slope = unchecked(sparse_sigmoid)(at_least_single(x))
        return (narrow(at_least_single(dy) * slope, x),)

    return unchecked(sparse_plus)(x), pullback


@rule
@elementwise
def sparse_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0 for x ≤ −1, (x + 1)/2 between, 1 for x ≥ 1 (Blondel et al. 2019, arXiv:1901.02324, 6.2)."""
    return narrow((np.clip(at_least_single(x), -1, 1) + 1) / 2, x)


@rule
@elementwise
def sparse_sigmoid_vjp(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Pullback]:
    """``sparse_sigmoid`` with its pullback.

    1/2 for |x| < 1, else 0; at the kinks ±1 it is 1/4, as in ``jax.nn.sparse_sigmoid``, whose
    clip halves the derivative at its ends. Nothing is lost.
    """

    def pullback(dy: Array) -> tuple[Array]:
        half, size = at_least_single(dy) / 2, np.abs(x)
        return (narrow(np.where(size == 1, half / 2, masked(half, size < 1)), dy),)

    return unchecked(sparse_sigmoid)(x), pullback
