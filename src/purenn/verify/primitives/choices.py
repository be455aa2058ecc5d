"""Comparisons and the choices that depend on them.

A comparison is decided exactly. Where it holds only by a tie, and its sides move apart, it comes
out otherwise close by: the choice that depends on it gives its value, and as tangents the ball
that holds the tangents of every case. A boolean that becomes a number keeps its value too, and
beside it the ball of its limits, which the partial derivatives of products see: x·[x > 0] at 0
is 0, and its tangent is from 0 to 1.
"""

from collections.abc import Sequence
from enum import Enum
from itertools import product

import flint
import numpy as np
from flint import arb

from purenn.typing import Array
from purenn.verify.balls import MOST_BITS, Balls, lift
from purenn.verify.primitives.duals import (
    BlurredError,
    Dual,
    Function,
    around,
    expanded,
    joined,
    linear_behind,
    numbers,
    settled,
    slopes,
)


class Ties(Enum):
    """What a tie stands for."""

    EVERY_SIDE = 0
    """For all that is close by: tangents are balls."""
    RAY = 1
    """For what comes next along the only direction."""
    POINT = 2
    """For itself, as in autodiff, if it is a comparison; a corner is that of the ray."""


UNSURE = 2


def _side(a: arb, b: arb) -> int:
    if a is b:
        return UNSURE if a.is_nan() else 0
    return 0 if a == b else 1 if a > b else -1 if a < b else UNSURE


_sides = lift(_side, 2)


def sides(a: Balls | Array, b: Balls | Array) -> Array:
    """Per element 1, 0, or −1 as ``a`` is greater, equal or less; 2 where they overlap."""
    if a.dtype != object and b.dtype != object:
        return np.subtract(a > b, a < b, dtype=int)
    return np.asarray(_sides(numbers(a), numbers(b)), int)


# With these, what is still undefined is so, and there are more to see which balls are wide.
_ENOUGH_BITS = MOST_BITS // 2


def certain(found: Array) -> Array:
    """Refuse what overlaps while there are more bits to be had; in the end it is equal.

    Raises:
        BlurredError: there are.
    """
    unsure = found == UNSURE
    if np.any(unsure) and flint.ctx.prec < _ENOUGH_BITS:
        raise BlurredError
    return np.asarray(np.where(unsure, 0, found))


OUTCOMES: dict[str, Function] = {
    "gt": lambda side: side == 1,
    "lt": lambda side: side == -1,
    "ge": lambda side: (side == 0) | (side == 1),
    "le": lambda side: (side == 0) | (side == -1),
    "eq": lambda side: side == 0,
    "ne": lambda side: side != 0,
}
OUTCOMES |= {f"{name}_to": OUTCOMES[name] for name in ("lt", "le", "eq")}


def compare(name: str, a: Dual, b: Dual, ties: Ties) -> Dual:
    """Booleans; nothing compares with what is not a number.

    Raises:
        BlurredError: a comparison needs more bits.
    """
    outcome = OUTCOMES[name]
    if a.value.dtype == bool:
        return logic(lambda x, y: outcome(sides(x, y)), a, b)
    found = sides(a.value, b.value)
    unsure = found == UNSURE
    if np.any(unsure):
        undefined = lift(lambda x, y: x.is_nan() or y.is_nan(), 2)(a.value, b.value)
        if flint.ctx.prec < _ENOUGH_BITS or not np.all(undefined[unsure]):
            raise BlurredError
    found, either = resolved(found, a, b, ties)
    value = outcome(found)
    if a.nearby is not None or b.nearby is not None:
        close = sides(around(a, value.ndim), around(b, value.ndim))
        changes = (close == UNSURE) | (outcome(close) != value)
        either = changes if either is None else either | changes
    return settled(Dual(value, None, either))


def resolved(found: Array, a: Dual, b: Dual, ties: Ties) -> tuple[Array, Array | None]:
    """The sides, and per direction which are open because the tied move apart."""
    tie = found == 0
    if not np.any(tie) or ties is Ties.POINT or (a.tangents is None and b.tangents is None):
        return found, None
    along = sides(slopes(a, tie.ndim), slopes(b, tie.ndim))
    if ties is Ties.RAY:
        return np.where(tie & (along[0] != UNSURE), along[0], found), tie & (along == UNSURE)
    return found, tie & (along != 0)


def logic(function: Function, *inputs: Dual) -> Dual:
    """Booleans of booleans; one may change only if what it is made of makes it change."""
    value = np.asarray(function(*[x.value for x in inputs]))
    if value.dtype != bool or all(x.nearby is None for x in inputs):
        return Dual(value, None)
    flips = [
        [False] if x.nearby is None else [False, expanded(x.nearby, value.ndim)] for x in inputs
    ]
    changes = [
        function(*[x.value ^ flip for x, flip in zip(inputs, chosen, strict=True)]) != value
        for chosen in product(*flips)
    ]
    return settled(Dual(value, None, np.logical_or.reduce(np.broadcast_arrays(*changes))))


_contains = lift(lambda ball, number: ball.contains(number), 2)


def select(which: Dual, cases: Sequence[Dual]) -> Dual:
    """The case that ``which`` names; its tangents with those of all that it may name."""
    index = which.value.astype(int)
    chosen = linear_behind(lambda *xs: np.choose(index, xs), cases)
    if which.nearby is None:
        return chosen
    value, tangents = chosen.value, chosen.tangents
    possible = expanded(which.nearby, value.ndim)
    shape = (len(possible), *value.shape)
    if value.dtype == bool:
        nearby = np.zeros(shape, bool) if chosen.nearby is None else chosen.nearby
    else:
        nearby = np.broadcast_to(around(chosen, value.ndim), shape).copy()
    for k, case in enumerate(cases):
        may = possible if which.value.dtype == bool else _contains(possible, k)
        may = np.broadcast_to(may.astype(bool) & (index != k), shape)
        if tangents is not None:
            others = np.broadcast_to(slopes(case, value.ndim), shape)
            tangents[may] = joined(tangents[may], others[may])
        if value.dtype == bool:
            changed = case.value != value
            if case.nearby is not None:
                changed = changed | expanded(case.nearby, value.ndim)
            nearby = nearby | (may & changed)
        else:
            nearby[may] = joined(nearby[may], np.broadcast_to(around(case, value.ndim), shape)[may])
    return settled(Dual(value, tangents, nearby))


def is_finite(x: Dual) -> Dual:
    """Whether the numbers are; what is not proven to be either needs more bits."""
    finite = np.asarray(lift(lambda ball: ball.is_finite())(x.value), bool)
    if not np.all(finite | np.asarray(lift(lambda ball: ball.is_exact())(x.value), bool)):
        certain(np.array(UNSURE))
    return Dual(finite, None)
