"""Layers of noise: ``vjp`` draws it from its key, in training; ``forward`` gives x as it is.

So do models at inference: nothing is to be scaled there.
"""

from collections.abc import Callable, Sequence
from typing import Any

from purenn.contract import unchecked
from purenn.errors import DtypeError, ShapeError
from purenn.layers.core import Layer, without_parameters
from purenn.ops import dropout as ops
from purenn.typing import Array, Key, Pullback, Shape


def dropout(rate: float, broadcast_dims: Sequence[int] = ()) -> Layer:
    """Drop units, as ``flax.linen.Dropout``; the dimensions are those of x, its batch included.

    Raises:
        DtypeError: ``rate`` is no number, or a dimension no int; when the layer is trained, there
            is no key.
        DomainError: ``rate`` lies outside [0, 1).
        ShapeError: when the layer is trained, x does not have a dimension.
    """
    dims = ops._check_broadcast_dims("dropout", broadcast_dims)
    return _noise("dropout", ops.dropout_vjp, _any, rate, broadcast_dims=dims)


def spatial_dropout(rate: float) -> Layer:
    """Drop whole feature maps of (..., channels): one fate for each example and channel.

    Raises:
        DtypeError: ``rate`` is no number; when the layer is trained, there is no key.
        DomainError: ``rate`` lies outside [0, 1).
    """
    return _noise("spatial_dropout", ops.spatial_dropout_vjp, _channels_last, rate)


def gaussian_dropout(rate: float) -> Layer:
    """Multiply by numbers from N(1, rate/(1 − rate)).

    Raises:
        DtypeError: ``rate`` is no number; when the layer is trained, there is no key.
        DomainError: ``rate`` lies outside [0, 1).
    """
    return _noise("gaussian_dropout", ops.gaussian_dropout_vjp, _any, rate)


def drop_block(rate: float, block_size: int) -> Layer:
    """Drop square blocks of each feature map of (height, width, channels).

    Raises:
        DtypeError: ``rate`` is no number, or ``block_size`` no int; when the layer is trained,
            there is no key.
        DomainError: ``rate`` lies outside [0, 1), or ``block_size`` is less than 1.
        ShapeError: when the layer is used, the block is larger than the image.
    """
    ops._check_block(block_size, ())

    def check(name: str, shape: Shape) -> None:
        if len(shape) != 3:
            raise ShapeError(
                f"{name}: an example has shape {shape}, expected (height, width, channels)"
            )
        ops._check_block(block_size, shape[:2])

    return _noise("drop_block", ops.drop_block_vjp, check, rate, block_size=block_size)


def max_drop(rate: float, mode: str = "feature") -> Layer:
    """Drop the largest activation of each map (``"feature"``) or position (``"channel"``).

    Raises:
        DtypeError: ``rate`` is no number; when the layer is trained, there is no key.
        DomainError: ``rate`` lies outside [0, 1), or there is no such mode.
    """
    ops._check_mode(mode)
    return _noise("max_drop", ops.max_drop_vjp, _channels_last, rate, mode=mode)


def stochastic_dropout(rate: float) -> Layer:
    """Drop units, at a rate that is drawn from [0, ``rate``) by each call.

    Raises:
        DtypeError: ``rate`` is no number; when the layer is trained, there is no key.
        DomainError: ``rate`` lies outside [0, 1).
    """
    return _noise("stochastic_dropout", ops.stochastic_dropout_vjp, _any, rate)


def _noise(
    name: str,
    rule_vjp: Callable[..., tuple[Array, Pullback]],
    check: Callable[[str, Shape], None],
    rate: float,
    **static: Any,
) -> Layer:
    """The layer of a rule; ``check`` refuses the shapes of examples that are not for it."""
    rate = ops._check_rate(name, rate)
    apply_vjp = unchecked(rule_vjp)

    def shape(input_shape: Shape) -> Shape:
        check(name, input_shape)
        return input_shape

    def forward(x: Array) -> Array:
        check(name, x.shape[1:])
        return x

    def vjp(x: Array, key: Key | None) -> tuple[Array, Callable[[Array], Array]]:
        if key is None:
            raise DtypeError(f"{name}: key is None, expected one that the noise is drawn from")
        y, pullback = apply_vjp(forward(x), rate=rate, key=key, **static)
        return y, lambda dy: pullback(dy)[0]

    return without_parameters(name, shape, forward, vjp, stochastic=True)


def _any(name: str, shape: Shape) -> None:
    pass


def _channels_last(name: str, shape: Shape) -> None:
    if not shape:
        raise ShapeError(f"{name}: an example has shape (), expected (..., channels)")
