"""Balls with their tangents and what is beside a jump, and the maps that treat all alike."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from flint import arb

from purenn.typing import Array
from purenn.verify.balls import Balls, from_floats, from_integers, is_number, lift, zeros


class UnknownPrimitiveError(NotImplementedError):
    """The trace holds a primitive that has no exact rule here."""


class BlurredError(ArithmeticError):
    """Two balls overlap, so that a comparison cannot be decided with so few bits."""


class Dual(NamedTuple):
    """An array of balls (or of plain integers or booleans) with its tangents."""

    value: Balls
    tangents: Balls | None
    """One per direction, in front: (directions, *shape); ``None`` where all are zero."""
    nearby: Any = None
    """What the value is close by in each direction, (directions, *shape), if it may jump there.

    Of numbers the balls that hold it and its limits from both sides; of booleans whether they
    change. The value itself stays exact: only the partial derivatives of what follows are wider.
    """


Function: TypeAlias = Callable[..., Any]


def enter(x: Any) -> Any:
    """What JAX holds, as it is held here: floats as balls, anything else as it is."""
    if isinstance(x, jax.Array) and jax.numpy.issubdtype(x.dtype, jax.dtypes.extended):
        return x  # a random key
    x = np.asarray(x)
    return from_floats(x) if x.dtype != object and is_number(x) else x


def expanded(per_direction: Any, rank: int) -> Any:
    """What a scalar beside an array has per direction, with room for the axes of the array."""
    directions, *shape = per_direction.shape
    return per_direction.reshape((directions, *[1] * (rank - len(shape)), *shape))


def numbers(x: Balls | Array) -> Balls:
    """Integers and booleans as balls too."""
    return x if x.dtype == object else from_integers(x)


def around(x: Dual, rank: int) -> Balls:
    """The numbers that ``x`` is close by, with or without an axis of directions in front."""
    return numbers(x.value) if x.nearby is None else expanded(x.nearby, rank)


def slopes(x: Dual, rank: int) -> Balls:
    """The tangents, zeros if there are none; with or without an axis of directions in front."""
    return np.asarray(arb(0), object) if x.tangents is None else expanded(x.tangents, rank)


def linear(function: Function, inputs: Sequence[Dual]) -> Dual:
    """A linear map of all its inputs together acts on the tangents as it does on the values."""
    values = [x.value for x in inputs]
    y = np.asarray(function(*values))
    return Dual(
        y,
        _each(function, y, [x.tangents for x in inputs], values, _unmoved),
        _each(function, y, [x.nearby for x in inputs], values, unchanged),
    )


def linear_behind(function: Function, inputs: Sequence[Dual]) -> Dual:
    """A linear map that leaves the axes in front alone: one call for all directions."""
    values = [x.value for x in inputs]
    return Dual(
        np.asarray(function(*values)),
        _at_once(function, [x.tangents for x in inputs], values, _unmoved),
        _at_once(function, [x.nearby for x in inputs], values, unchanged),
    )


def bilinear(product: Function, a: Dual, b: Dual) -> Dual:
    """A product of arrays, linear in each; both may have an axis of directions in front."""
    nearby = [unchanged(x.value) if x.nearby is None else x.nearby for x in (a, b)]
    terms = [] if a.tangents is None else [product(a.tangents, nearby[1])]
    terms += [] if b.tangents is None else [product(nearby[0], b.tangents)]
    still = a.nearby is None and b.nearby is None
    return Dual(
        np.asarray(product(a.value, b.value)),
        sum(terms[1:], terms[0]) if terms else None,
        None if still else product(*nearby),
    )


def each_direction(product: Function, a: Any, b: Any, ranks: Sequence[int]) -> Any:
    """A product of arrays of these ranks, called for each direction that they have in front."""
    in_front = [x.ndim > rank for x, rank in zip((a, b), ranks, strict=True)]
    if not any(in_front):
        return product(a, b)
    count = len(a if in_front[0] else b)
    if not count:
        plain = [zeros(x.shape[1:]) if f else x for x, f in zip((a, b), in_front, strict=True)]
        return np.asarray(product(*plain))[np.newaxis][:0]
    rows = [x if front else [x] * count for x, front in zip((a, b), in_front, strict=True)]
    return np.stack([product(*pair) for pair in zip(*rows, strict=True)])


def _each(
    function: Function, y: Any, moves: Sequence[Any], values: Sequence[Any], otherwise: Function
) -> Any:
    """``function`` in each direction, of what the inputs have there."""
    directions = next((len(x) for x in moves if x is not None), None)
    if directions is None:
        return None
    still = [otherwise(v) if x is None else None for x, v in zip(moves, values, strict=True)]
    results = np.empty((directions, *y.shape), y.dtype if y.dtype == bool else object)
    for i in range(directions):
        results[i, ...] = function(
            *[other if x is None else x[i, ...] for x, other in zip(moves, still, strict=True)]
        )
    return results


def _at_once(
    function: Function, moves: Sequence[Any], values: Sequence[Any], otherwise: Function
) -> Any:
    """The same for a function that sees only the last axes."""
    directions = next((len(x) for x in moves if x is not None), None)
    if directions is None:
        return None
    rank = max(v.ndim for v in values)
    shapes = [(directions, *[1] * (rank - v.ndim), *v.shape) for v in values]
    return function(
        *[
            np.broadcast_to(otherwise(v), shape) if x is None else x.reshape(shape)
            for x, v, shape in zip(moves, values, shapes, strict=True)
        ]
    )


def _unmoved(value: Any) -> Balls:
    """The tangent of a constant."""
    return zeros(value.shape)


def unchanged(value: Any) -> Any:
    """What is nearby of what does not jump."""
    return np.zeros_like(value) if value.dtype == bool else numbers(value)


def join(a: arb, b: arb) -> arb:
    """The ball that holds both; a second one that is not finite is left out."""
    return a if b == a or not b.is_finite() else a.union(b)


joined = lift(join, 2)


def settled(x: Dual) -> Dual:
    """``x`` without what is nearby where that is nothing else."""
    if x.nearby is None:
        return x
    same = ~x.nearby if x.value.dtype == bool else _same(x.nearby, numbers(x.value))
    return x._replace(nearby=None) if np.all(same) else x


_same = lift(lambda a, b: a is b or a == b, 2)
