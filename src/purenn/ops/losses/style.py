"""Losses between the feature maps of two images, for style transfer.

Gatys, Ecker & Bethge, *Image style transfer using convolutional neural networks*, CVPR 2016.
"""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import at_least_single, narrow, widen
from purenn.ops.losses.regression import l2_loss, l2_loss_vjp
from purenn.typing import Array, Float, Pullback


@rule
def gram_matrix(
    x: Float[Array, "*batch height width channels"],
) -> Float[Array, "*batch channels channels"]:
    """Gᵢⱼ = Σ xᵢ·xⱼ over all positions: how the channels occur together, wherever that is.

    The sums are not normalized, as in Gatys et al., equation 3. Johnson, Alahi & Fei-Fei (ECCV
    2016) divide by height·width·channels.
    """
    rows = _rows(at_least_single(x))
    with np.errstate(over="ignore", invalid="ignore"):
        return narrow(np.swapaxes(rows, -1, -2) @ rows, x)


@rule
def gram_matrix_vjp(
    x: Float[Array, "*batch height width channels"],
) -> tuple[Float[Array, "*batch channels channels"], Pullback]:
    """gram_matrix with its pullback.

    With the positions of x as the rows of X, G = XᵀX and dG = dXᵀX + XᵀdX, so the cotangent of X
    is X(dG + dGᵀ): that of G need not be symmetric.
    """

    def pullback(dy: Array) -> tuple[Array]:
        wide = at_least_single(dy)
        with np.errstate(over="ignore", invalid="ignore"):
            dx = _rows(at_least_single(x)) @ (wide + np.swapaxes(wide, -1, -2))
        return (narrow(dx.reshape(x.shape), x),)

    return unchecked(gram_matrix)(x), pullback


@rule
def style_loss(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch target_height target_width channels"],
) -> Float[Array, "*batch"]:
    """¼Σᵢⱼ(Gᵢⱼ/NM − Aᵢⱼ/NM′)², with G and A the Gram matrices of predictions and targets.

    N is the number of channels, M and M′ are those of positions. Where these are equal it is
    Σ(G − A)²/4N²M², Gatys et al., equation 4.
    """
    ours = unchecked(gram_matrix)(widen(predictions)) * _share(predictions)
    theirs = unchecked(gram_matrix)(widen(targets)) * _share(targets)
    return narrow(np.sum(unchecked(l2_loss)(ours, theirs), axis=(-2, -1)) / 2, predictions)


@rule
def style_loss_vjp(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch target_height target_width channels"],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """style_loss with its pullback: that of the half squared error, and of each Gram matrix.

    Predictions get X·(G/NM − A/NM′)·dL/NM, twice a half of it, as both are symmetric. The Gram
    matrices are kept in float64: what counts is the small difference of two large sums.
    """
    ours, pull_ours = unchecked(gram_matrix_vjp)(widen(predictions))
    theirs, pull_theirs = unchecked(gram_matrix_vjp)(widen(targets))
    share, target_share = _share(predictions), _share(targets)
    losses, pull_losses = unchecked(l2_loss_vjp)(ours * share, theirs * target_share)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dlosses = np.broadcast_to(widen(dy)[..., np.newaxis, np.newaxis] / 2, losses.shape)
        dours, dtheirs = pull_losses(dlosses)
        (dpredictions,) = pull_ours(dours * share)
        (dtargets,) = pull_theirs(dtheirs * target_share)
        return narrow(dpredictions, predictions), narrow(dtargets, targets)

    return narrow(np.sum(losses, axis=(-2, -1)) / 2, predictions), pullback


@rule
def content_loss(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch height width channels"],
) -> Float[Array, "*batch"]:
    """½Σ(predictions − targets)² over positions and channels; Gatys et al., equation 1."""
    losses = unchecked(l2_loss)(widen(predictions), widen(targets))
    return narrow(np.sum(losses, axis=(-3, -2, -1)), predictions)


@rule
def content_loss_vjp(
    predictions: Float[Array, "*batch height width channels"],
    targets: Float[Array, "*batch height width channels"],
) -> tuple[Float[Array, "*batch"], Pullback]:
    """content_loss with its pullback, that of the half squared error: the error times dL."""
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


def _share(x: Array) -> float:
    """1/(positions·channels); a sum over none of them is 0 whatever it is divided by."""
    height, width, channels = x.shape[-3:]
    return 1 / max(int(height * width * channels), 1)
