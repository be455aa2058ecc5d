"""Noise for training: units, blocks and whole feature maps that are dropped at random.

All that is random comes from ``key``, a static argument, and so do its bits: those that
``jax.random`` draws from the same key, in float32 whatever the dtype of x. For a given key a rule
multiplies each unit by a number m, its mask. The pullback multiplies dy by the same m, which is
kept, never drawn again: dx = dy⊙m.

What is dropped becomes 0 even if it is infinite or NaN. What is kept is scaled up (inverted
dropout), so that nothing is left to do at inference.
"""

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from purenn import random
from purenn._quantile import normal_quantile
from purenn.contract import check_integer, check_number, rule
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops._numerics import at_least_single, masked, narrow, widen
from purenn.typing import Annotated, Array, Float, Key, OneOf, Pullback, Shape

__all__ = [
    "drop_block",
    "drop_block_vjp",
    "dropout",
    "dropout_vjp",
    "gaussian_dropout",
    "gaussian_dropout_vjp",
    "max_drop",
    "max_drop_vjp",
    "spatial_dropout",
    "spatial_dropout_vjp",
    "stochastic_dropout",
    "stochastic_dropout_vjp",
]


@rule
def dropout(
    x: Float[Array, "*shape"], *, rate: float, key: Key, broadcast_dims: Sequence[int] = ()
) -> Float[Array, "*shape"]:
    """x/(1 − rate), or 0 with probability ``rate``, as ``flax.linen.Dropout``.

    Along ``broadcast_dims`` the units share one fate. The probability is rounded to a multiple
    of 2⁻²³. Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
    overfitting", scale at inference instead.

    Raises DtypeError for a rate that is no number, dimensions that are no ints or a key that is
    none, DomainError for a rate outside [0, 1), ShapeError for a dimension that x does not have or
    more keys than one.
    """
    return _masked(x, *_units("dropout", x, rate, key, broadcast_dims))


@rule
def dropout_vjp(
    x: Float[Array, "*shape"], *, rate: float, key: Key, broadcast_dims: Sequence[int] = ()
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``dropout`` with its pullback.

    yᵢ = mᵢxᵢ with mᵢ = 1/(1 − rate) where i is kept, else 0: dxᵢ = mᵢdyᵢ. E[mᵢ] = 1, so the
    expected sums of y and of dx are those without dropout. Autodiff loses nothing either, here and
    in what follows unless it says so.
    """
    return _masked_vjp(x, *_units("dropout", x, rate, key, broadcast_dims))


@rule
def spatial_dropout(
    x: Float[Array, "batch *spatial channels"], *, rate: float, key: Key
) -> Float[Array, "batch *spatial channels"]:
    """Drop whole feature maps: one fate for each (example, channel), else as ``dropout``.

    Neighbours in a map are alike, so that a unit dropped alone is not missed. Tompson et al.
    2015, "Efficient object localization using convolutional networks".

    Raises DtypeError for a rate that is no number or a key that is none, DomainError for a rate
    outside [0, 1), ShapeError for more keys than one.
    """
    return _masked(x, *_units("spatial_dropout", x, rate, key, range(1, x.ndim - 1)))


@rule
def spatial_dropout_vjp(
    x: Float[Array, "batch *spatial channels"], *, rate: float, key: Key
) -> tuple[Float[Array, "batch *spatial channels"], Pullback]:
    """``spatial_dropout`` with its pullback.

    y[n, …, c] = m[n, c]·x[n, …, c], so dx[n, …, c] = m[n, c]·dy[n, …, c], m being 1/(1 − rate)
    for a map that is kept, else 0. m is no function of x, and nothing is summed over the map.
    """
    return _masked_vjp(x, *_units("spatial_dropout", x, rate, key, range(1, x.ndim - 1)))


@rule
def gaussian_dropout(x: Float[Array, "*shape"], *, rate: float, key: Key) -> Float[Array, "*shape"]:
    """x·m with m ~ N(1, rate/(1 − rate)): the mean and the variance of the m of ``dropout``.

    As in Keras. Srivastava et al. 2014, section 10. With σ² = rate/(1 − rate), m = 1 + σn, where
    n are the numbers of ``jax.random.normal`` in float32, of which each is rounded only once.

    Raises DtypeError for a rate that is no number or a key that is none, DomainError for a rate
    outside [0, 1), ShapeError for more keys than one.
    """
    return _times(x, _gaussian(x, rate, key))


@rule
def gaussian_dropout_vjp(
    x: Float[Array, "*shape"], *, rate: float, key: Key
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``gaussian_dropout`` with its pullback.

    yᵢ = mᵢxᵢ, so dxᵢ = mᵢdyᵢ. Where n is near −1/σ, 1 + σn in the dtype of x keeps no digit of m.
    Here σ is the sum of two numbers: n times the first is exact, and what is left when 1 cancels
    is as well.
    """
    m = _gaussian(x, rate, key)
    return _times(x, m), lambda dy: (_times(dy, m),)


@rule
def drop_block(
    x: Float[Array, "batch height width channels"], *, rate: float, block_size: int, key: Key
) -> Float[Array, "batch height width channels"]:
    """Drop b × b blocks of each feature map, b = ``block_size``, and scale up what is kept.

    With probability γ = rate·H·W/(b²(H − b + 1)(W − b + 1)) each block that lies inside the image
    is dropped: one draw for every example, channel and upper left corner, so that an even b needs
    no centre. Blocks overlap: counted as often as it is covered, the part ``rate`` of the units
    is dropped on average, and less than that in fact. All of x is scaled by count(M)/count_ones(M),
    M being the mask of all examples and channels; if no unit is kept, y is 0. Ghiasi, Lin & Le
    2018, "DropBlock: a regularization method for convolutional networks", algorithm 1.

    Raises DtypeError for a rate that is no number, a block size that is no int or a key that is
    none, DomainError for a rate outside [0, 1) or a block size below 1, ShapeError for a block
    larger than the image or more keys than one.
    """
    return _masked(x, *_blocks(x, rate, block_size, key))


@rule
def drop_block_vjp(
    x: Float[Array, "batch height width channels"], *, rate: float, block_size: int, key: Key
) -> tuple[Float[Array, "batch height width channels"], Pullback]:
    """``drop_block`` with its pullback.

    yᵢ = sMᵢxᵢ with s = count(M)/count_ones(M): dxᵢ = sMᵢdyᵢ. s is a number of the mask alone,
    not of x, and thus a constant, unlike the sum in a normalization.
    """
    return _masked_vjp(x, *_blocks(x, rate, block_size, key))


@rule
def max_drop(
    x: Float[Array, "batch *spatial channels"],
    *,
    rate: float,
    key: Key,
    mode: Annotated[str, OneOf("feature", "channel")] = "feature",
) -> Float[Array, "batch *spatial channels"]:
    """Drop the largest activation, with probability ``rate``, and let the others be.

    Of each feature map (``mode="feature"``: one draw for every example and channel), or at each
    position of all channels (``mode="channel"``: one draw for every example and position). Of
    equal ones it is the first. Nothing is scaled. Park & Kwak 2016, "Analysis on the dropout
    effect in convolutional neural networks", put it before max pooling.

    Raises DtypeError for a rate that is no number or a key that is none, DomainError for a rate
    outside [0, 1) or another mode, ShapeError for more keys than one.
    """
    return _masked(x, _maxima(x, rate, key, mode), 1.0)


@rule
def max_drop_vjp(
    x: Float[Array, "batch *spatial channels"],
    *,
    rate: float,
    key: Key,
    mode: Annotated[str, OneOf("feature", "channel")] = "feature",
) -> tuple[Float[Array, "batch *spatial channels"], Pullback]:
    """``max_drop`` with its pullback.

    yᵢ = mᵢ(x)·xᵢ with mᵢ = 0 for the one that is dropped, else 1. m is constant as long as the
    same one is the largest, so dxᵢ = mᵢdyᵢ. Where two are equal, y jumps and has no derivative;
    as by JAX of the argmax, m is held fixed there too.
    """
    return _masked_vjp(x, _maxima(x, rate, key, mode), 1.0)


@rule
def stochastic_dropout(
    x: Float[Array, "*shape"], *, rate: float, key: Key
) -> Float[Array, "*shape"]:
    """Dropout at a rate r that is drawn anew by each call, uniformly from [0, ``rate``).

    On average that drops ``rate``/2. Park & Kwak 2016, "Analysis on the dropout effect in
    convolutional neural networks", try uniform and normal distributions; r is uniform here, since
    a normal one leaves [0, 1). Two keys are split off: of the first r is drawn, of the second the
    mask.

    Raises DtypeError for a rate that is no number or a key that is none, DomainError for a rate
    outside [0, 1), ShapeError for more keys than one.
    """
    return _masked(x, *_stochastic(x, rate, key))


@rule
def stochastic_dropout_vjp(
    x: Float[Array, "*shape"], *, rate: float, key: Key
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``stochastic_dropout`` with its pullback.

    For the r that is drawn it is dropout: dxᵢ = mᵢdyᵢ with mᵢ = 1/(1 − r) where i is kept, else 0.
    E[mᵢ | r] = 1 for every r, so the expected sums are kept.
    """
    return _masked_vjp(x, *_stochastic(x, rate, key))


def _check_rate(name: str, rate: float) -> float:
    """Refuse a rate outside [0, 1)."""
    return check_number(name, "rate", rate, ge=0, lt=1)


def _check_broadcast_dims(name: str, dims: Sequence[int]) -> tuple[int, ...]:
    """Refuse what is no sequence of ints."""
    if isinstance(dims, str) or not isinstance(dims, Sequence):
        raise DtypeError(f"{name}: broadcast_dims is {dims!r}, expected a sequence of ints")
    return tuple(check_integer(name, f"broadcast_dims[{i}]", dim) for i, dim in enumerate(dims))


def _check_block(block_size: int, sizes: Sequence[int]) -> None:
    """Refuse a block that is none, or that does not fit into an image of these sizes."""
    check_integer("drop_block", "block_size", block_size, least=1)
    if block_size > min(sizes, default=block_size):
        height, width = sizes
        raise ShapeError(
            f"drop_block: block_size is {block_size}, expected no more than the image has, "
            f"{height} × {width}"
        )


def _check_mode(mode: str) -> None:
    """Refuse a mode of ``max_drop`` that is none."""
    if mode not in ("feature", "channel"):
        raise DomainError(f"max_drop: mode is {mode!r}, expected 'feature' or 'channel'")


def _masked(x: Array, kept: Array, share: float) -> Array:
    """x/share where kept, else 0."""
    with np.errstate(over="ignore"):
        return narrow(masked(at_least_single(x) / share, kept), x)


def _masked_vjp(x: Array, kept: Array, share: float) -> tuple[Array, Pullback]:
    return _masked(x, kept, share), lambda dy: (_masked(dy, kept, share),)


def _times(x: Array, m: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return narrow(widen(x) * m, x)


def _units(
    name: str, x: Array, rate: float, key: Key, broadcast_dims: Sequence[int]
) -> tuple[Array, float]:
    """Which units are kept, and what share of them is on average."""
    _admit(name, rate, key, x.shape)
    shape = [*x.shape]
    for dim in _check_broadcast_dims(name, broadcast_dims):
        if not -x.ndim <= dim < x.ndim:
            raise ShapeError(f"{name}: broadcast_dims has {dim}, but x has shape {x.shape}")
        shape[dim] = 1
    share = float(1 - rate)
    return random.bernoulli(key, share, tuple(shape)), share


def _stochastic(x: Array, rate: float, key: Key) -> tuple[Array, float]:
    _admit("stochastic_dropout", rate, key, x.shape)
    rate_key, mask_key = random.split(key)
    drawn = float(rate) * float(random.uniform(rate_key))
    return _units("stochastic_dropout", x, drawn, mask_key, ())


def _gaussian(x: Array, rate: float, key: Key) -> Array:
    """m = 1 + σn."""
    _admit("gaussian_dropout", rate, key, x.shape)
    sigma = (Decimal(float(rate)) / (1 - Decimal(float(rate)))).sqrt()
    coarse = float(np.float32(sigma))
    fine = float(sigma - Decimal(coarse))
    above = np.nextafter(np.float32(-1), np.float32(0))
    u = random.uniform(key, x.shape, np.float32, above, 1).astype(np.float64)
    n = normal_quantile(u).astype(np.float32).astype(np.float64)
    return np.asarray((1 + n * coarse) + n * fine)


def _blocks(x: Array, rate: float, block_size: int, key: Key) -> tuple[Array, float]:
    """Which units are kept, and what share of them is."""
    _admit("drop_block", rate, key, x.shape)
    batch, height, width, channels = x.shape
    _check_block(block_size, (height, width))
    rows, columns = height - block_size + 1, width - block_size + 1
    gamma = float(rate) * (height * width) / (block_size**2 * rows * columns)
    corners = random.bernoulli(key, gamma, (batch, rows, columns, channels))
    edges = np.zeros((batch, height, columns, channels), bool)
    dropped = np.zeros(x.shape, bool)
    for i in range(block_size):
        edges[:, i : i + rows] |= corners
    for j in range(block_size):
        dropped[:, :, j : j + columns] |= edges
    kept = ~dropped
    return kept, max(1, int(np.count_nonzero(kept))) / max(1, kept.size)


def _maxima(x: Array, rate: float, key: Key, mode: str) -> Array:
    """Which units are kept."""
    _admit("max_drop", rate, key, x.shape)
    _check_mode(mode)
    maps = x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])
    kept = np.ones(maps.shape, bool)
    if x.size:
        axis = 1 if mode == "feature" else 2
        largest = np.argmax(maps, axis, keepdims=True)
        spared = ~random.bernoulli(key, float(rate), largest.shape)
        np.put_along_axis(kept, largest, spared, axis)
    return kept.reshape(x.shape)


def _admit(name: str, rate: float, key: Key, shape: Shape) -> None:
    random.admit(name, key, shape, np.float32)
    _check_rate(name, rate)
