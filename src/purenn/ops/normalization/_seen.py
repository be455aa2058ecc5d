"""How the normalizations see x: as (examples, positions, groups, members of a group).

Then scale and bias are (groups, members), and what differs is over which axes is standardized.
"""

import math

import numpy as np

from purenn.contract import check_integer
from purenn.errors import ShapeError
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
    check_integer("group_norm", "num_groups", num_groups, least=1)
    if shape[-1] % num_groups:
        raise ShapeError(
            f"group_norm: num_groups is {num_groups}, expected a divisor of {shape[-1]}, "
            "the number of channels"
        )
    return (shape[0], math.prod(shape[1:-1]), num_groups, shape[-1] // num_groups)


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

    The pullback leaves dx out if it is told so. Where x − mean might be out of range, all of it is
    that of x and √ε times a power of two: z is the same.
    """
    seen, first = x.reshape(shape), np.zeros(())
    if center:
        seen, first = shifted(seen, axes)
    its = statistics(seen, axes, epsilon, center)
    if not np.isfinite(its.variance).all() and _FAR < np.max(np.abs(x)) < np.inf:
        return _far(x, shape, axes, scale, bias, epsilon, center)
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


_FAR = 2.0**1000
_STEP = 100


def _far(
    x: Array, shape: Shape, axes: Shape, scale: Array, bias: Array, epsilon: float, center: bool
) -> tuple[Array, Pullback, Statistics]:
    small, its_epsilon = np.ldexp(x, -_STEP), float(np.ldexp(epsilon, -2 * _STEP))
    y, through, its = normalized(small, shape, axes, scale, bias, its_epsilon, center)

    def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Array | None, ...]:
        dx, *dparameters = through(dy, input_cotangent=input_cotangent)
        return (None if dx is None else np.ldexp(dx, -_STEP), *dparameters)

    mean, variance, inverse = its
    with np.errstate(over="ignore"):
        variance = np.ldexp(variance, 2 * _STEP)
    return y, pullback, Statistics(np.ldexp(mean, _STEP), variance, np.ldexp(inverse, -_STEP))
