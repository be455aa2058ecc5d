"""How the normalizations see x: as (examples, positions, groups, members of a group).

Then scale and bias are (groups, members), and what differs is over which axes is standardized.
"""

import math

import numpy as np

from purenn.errors import DomainError, DtypeError
from purenn.ops._numerics import narrow
from purenn.ops._standardize import Statistics, normalize, normalize_pullback, shifted, statistics
from purenn.typing import Array, Pullback, Shape


def by_example(shape: Shape) -> Shape:
    """An example is whatever has features, and they are one group."""
    return (math.prod(shape[:-1]), 1, 1, shape[-1])


def by_channel(shape: Shape) -> Shape:
    """A channel is a group of its own."""
    return (shape[0], math.prod(shape[1:-1]), shape[-1], 1)


def by_channel_alone(shape: Shape) -> Shape:
    """A channel is a group of its own, and a position an example."""
    return (math.prod(shape[:-1]), 1, shape[-1], 1)


def by_group(shape: Shape, num_groups: int) -> Shape:
    """As many channels as there are make a group; refused where some would be left."""
    check_num_groups(num_groups)
    if shape[-1] % num_groups:
        raise DomainError(
            f"group_norm: num_groups is {num_groups}, expected a divisor of {shape[-1]}, "
            "the number of channels"
        )
    return (shape[0], math.prod(shape[1:-1]), num_groups, shape[-1] // num_groups)


def check_num_groups(num_groups: int) -> None:
    """Refuse what is no number of groups, however many channels there are."""
    if not isinstance(num_groups, int | np.integer) or isinstance(num_groups, bool):
        raise DtypeError(f"group_norm: num_groups is {num_groups!r}, expected an int")
    if num_groups < 1:
        raise DomainError(f"group_norm: num_groups is {num_groups}, expected at least 1")


def normalized(
    x: Array,
    shape: Shape,
    axes: Shape,
    scale: Array,
    bias: Array,
    epsilon: float,
    center: bool = True,
) -> tuple[Array, Pullback, Statistics]:
    """X, seen as ``shape``, standardized over ``axes``, scaled and shifted; pullback; statistics.

    The pullback leaves dx out if it is told so.
    """
    seen, first = x.reshape(shape), np.zeros(())
    if center:
        seen, first = shifted(seen, axes)
    its = statistics(seen, axes, epsilon, center)
    gain = scale.reshape(shape[2:])

    def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Array | None, ...]:
        found = normalize_pullback(
            dy.reshape(shape), seen, its, axes, epsilon, gain, center, input_cotangent
        )
        shapes = (x.shape, scale.shape, bias.shape)
        return tuple(
            None if d is None else narrow(d.reshape(its_shape), x)
            for d, its_shape in zip(found, shapes, strict=True)
        )

    y = normalize(seen, its, gain, bias.reshape(shape[2:]))
    return y.reshape(x.shape), pullback, its._replace(mean=its.mean + first)
