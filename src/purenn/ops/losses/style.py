"""Losses between the feature maps of two images, for style transfer.

Gatys, Ecker & Bethge, *Image style transfer using convolutional neural networks*, CVPR 2016.
"""

from typing import NamedTuple

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import at_least_single, narrow, quiet, widen
from purenn.ops.losses.regression import l2_loss, l2_loss_vjp
from purenn.typing import Array, Float, Pullback, Values

__all__ = [
    "content_loss",
    "content_loss_vjp",
    "gram_matrix",
    "gram_matrix_vjp",
    "style_loss",
    "style_loss_vjp",
]


@rule
def gram_matrix(
    x: Float[Array, "*batch height width channels"],
) -> Float[Array, "*batch channels channels"]:
    """Gᵢⱼ = Σ xᵢ·xⱼ over all positions: how the channels occur together, wherever that is.

    The sums are not normalized, as in Gatys et al., equation 3. Johnson, Alahi & Fei-Fei (ECCV
    2016) divide by height·width·channels.
    """
    return narrow(_gram(_rows(x)), x)


@rule
def gram_matrix_vjp(
    x: Float[Array, "*batch height width channels"],
) -> tuple[Float[Array, "*batch channels channels"], Pullback]:
    """``gram_matrix`` with its pullback.

    With the positions of x as the rows of X, G = XᵀX and dG = dXᵀX + XᵀdX, so the cotangent of X
    is X(dG + dGᵀ): that of G need not be symmetric. It sums over channels only; nothing is lost.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        wide = at_least_single(dy)
        dx = _rows(at_least_single(x)) @ (wide + np.swapaxes(wide, -1, -2))
        return (narrow(dx.reshape(x.shape), x),)

    return unchecked(gram_matrix)(x), pullback


@rule
@quiet
def style_loss(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch target_height target_width channels"],
) -> Float[Array, "*batch"]:
    """¼Σᵢⱼ(Gᵢⱼ/NM − Aᵢⱼ/NM′)², with G and A the Gram matrices of predictions and targets.

    N is the number of channels, M and M′ are those of positions. Where these are equal it is
    Σ(G − A)²/4N²M², Gatys et al., equation 4.
    """
    return narrow(_styles(predictions, targets).loss, predictions)


@rule
def style_loss_vjp(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch target_height target_width channels"],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """``style_loss`` with its pullback, through the half squared error and each Gram matrix.

    Predictions get X·(G/NM − A/NM′)·dL/NM, twice a half of it, as both are symmetric. The Gram
    matrices are kept in float64: what counts is the small difference of two large sums. They are
    of the features divided by a power of two, of which the loss has the fourth power: in the
    textbook form features of 1e160 in float64, 1e20 in float32, give ∞ − ∞.
    """
    its = _styles(predictions, targets)

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        def cotangent(x: Array, rows: Array, scale: Array) -> Array:
            dx = np.ldexp(rows @ its.difference * scale * _share(x), 3 * _maps(its.exponent))
            return narrow(dx.reshape(x.shape), x)

        scale = _maps(widen(dy))
        return cotangent(predictions, its.ours, scale), cotangent(targets, its.theirs, -scale)

    return narrow(its.loss, predictions), pullback


class _Styles(NamedTuple):
    loss: Values
    ours: Array
    """The predictions, one row per position."""
    theirs: Array
    difference: Array
    """G/NM − A/NM′."""
    exponent: Array
    """The arrays above are of features divided by 2 to this power; the loss is not."""


@quiet
def _styles(predictions: Array, targets: Array) -> _Styles:
    ours, theirs = _rows(widen(predictions)), _rows(widen(targets))
    top = np.maximum(*(np.max(np.abs(x), axis=(-2, -1), initial=0) for x in (ours, theirs)))
    exponent = np.frexp(top)[1]
    ours, theirs = (np.ldexp(x, -_maps(exponent)) for x in (ours, theirs))
    difference = _gram(ours) * _share(predictions) - _gram(theirs) * _share(targets)
    loss = np.sum(np.square(difference), axis=(-2, -1)) / 4
    return _Styles(np.ldexp(loss, 4 * exponent), ours, theirs, difference, exponent)


def _maps(x: Values) -> Array:
    """One number per example, beside its matrices."""
    return np.asarray(x[..., np.newaxis, np.newaxis])


@rule
@quiet
def content_loss(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch height width channels"],
) -> Float[Array, "*batch"]:
    """½Σ(predictions − targets)² over positions and channels; Gatys et al., equation 1."""
    losses = unchecked(l2_loss)(widen(predictions), widen(targets))
    return narrow(np.sum(losses, axis=(-3, -2, -1)), predictions)


@rule
@quiet
def content_loss_vjp(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch height width channels"],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """``content_loss`` with its pullback, that of the half squared error: the error times dL.

    Nothing is lost in the textbook form but what float32 rounds.
    """
    losses, pull_losses = unchecked(l2_loss_vjp)(widen(predictions), widen(targets))

    def pullback(dy: Array) -> tuple[Array, Array]:
        each = widen(dy)[..., np.newaxis, np.newaxis, np.newaxis]
        dpredictions, dtargets = pull_losses(np.broadcast_to(each, losses.shape))
        return narrow(dpredictions, predictions), narrow(dtargets, targets)

    return narrow(np.sum(losses, axis=(-3, -2, -1)), predictions), pullback


def _rows(x: Array) -> Array:
    """One row per position."""
    *batch, height, width, channels = x.shape
    return x.reshape(*batch, height * width, channels)


_BLOCK = 512


@quiet
def _gram(rows: Array) -> Array:
    """XᵀX in float64, block by block: BLAS adds row after row, and their rounding piles up."""
    *batch, count, channels = rows.shape
    wide = rows.astype(np.float64, copy=False)
    blocks = count // _BLOCK
    whole = wide[..., : blocks * _BLOCK, :].reshape(*batch, blocks, _BLOCK, channels)
    rest = wide[..., blocks * _BLOCK :, :]
    # NumPy adds in pairs what is side by side.
    parts = np.ascontiguousarray(np.moveaxis(np.swapaxes(whole, -1, -2) @ whole, -3, -1))
    return np.asarray(np.sum(parts, axis=-1) + np.swapaxes(rest, -1, -2) @ rest)


def _share(x: Array) -> float:
    """1/(positions·channels); a sum over none of them is 0 whatever it is divided by."""
    height, width, channels = x.shape[-3:]
    return 1 / max(int(height * width * channels), 1)
