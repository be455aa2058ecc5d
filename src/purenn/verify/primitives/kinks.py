"""Functions of single numbers that are smooth by pieces: corners, and jumps at steps."""

import numpy as np
from flint import arb

from purenn.verify.balls import absolute, lift, zeros
from purenn.verify.primitives.choices import UNSURE, Ties, resolved, select, sides
from purenn.verify.primitives.duals import (
    BlurredError,
    Dual,
    Function,
    around,
    joined,
    slopes,
)
from purenn.verify.primitives.smooth import smooth


def maximum(a: Dual, b: Dual, ties: Ties) -> Dual:
    """The greater; where that is not decided, with the tangents of both."""
    return _extreme(a, b, _larger, [b, a], ties)


def minimum(a: Dual, b: Dual, ties: Ties) -> Dual:
    """The less; where that is not decided, with the tangents of both."""
    return _extreme(a, b, _smaller, [a, b], ties)


# What is decided keeps its identity, so that it equals itself however blurred.
_larger = lift(lambda a, b: b if a is b or a <= b else a if a >= b else a.max(b), 2)
_smaller = lift(lambda a, b: a if a is b or a <= b else b if a >= b else a.min(b), 2)


def _extreme(a: Dual, b: Dual, chosen: Function, cases: list[Dual], ties: Ties) -> Dual:
    """One of two; the second case is that in which ``a`` is greater."""
    value = chosen(a.value, b.value).astype(a.value.dtype)
    moves = [p for x in cases for p in (x.tangents, x.nearby) if p is not None]
    if not moves:
        return Dual(value, None)
    found = sides(a.value, b.value)
    opened = found == UNSURE
    found, either = resolved(found, a, b, Ties.RAY if ties is Ties.POINT else ties)
    opened = opened if either is None else opened | either
    nearby = None
    if a.nearby is not None or b.nearby is not None:
        points = around(a, value.ndim), around(b, value.ndim)
        close = sides(*points)
        opened = opened | (close == UNSURE) | ((close == 1) != (found == 1))
        nearby = chosen(*points)
    if value.dtype != object:
        return Dual(value, None, nearby)
    opened = np.broadcast_to(opened, (len(moves[0]), *value.shape))
    which = Dual(found == 1, None, opened if np.any(opened) else None)
    return Dual(value, select(which, cases).tangents, nearby)


def magnitude(x: Dual, ties: Ties) -> Dual:
    """|x|."""
    return maximum(x, smooth("neg", x), ties)._replace(value=absolute(x.value))


def clamp(low: Dual, x: Dual, high: Dual, ties: Ties) -> Dual:
    """The nearest to ``x`` from ``low`` to ``high``."""
    return minimum(maximum(x, low, ties), high, ties)


def _floor(x: arb) -> arb:
    return _whole(x, x.floor())


def _ceil(x: arb) -> arb:
    return _whole(x, x.ceil())


def _whole(x: arb, rounded: arb) -> arb:
    """What rounding gave, if it is one number."""
    if not x.is_finite():
        return x
    if not rounded.is_exact():
        raise BlurredError
    return rounded


def _half(x: arb) -> bool:
    return bool(_ceil(x - 0.5) != _floor(x + 0.5))


def _to_even(x: arb) -> arb:
    low = _floor(x)
    return 2 * _ceil(low / 2) if _half(x) else _floor(x + 0.5)


def _from_zero(x: arb) -> arb:
    return (_ceil(x) if x > 0 else _floor(x)) if _half(x) else _floor(x + 0.5)


def _positive(x: arb) -> bool:
    if not (x > 0 or x <= 0 or x.is_nan()):
        raise BlurredError
    return bool(x > 0)


# name: the value, and the limits of the values below and above.
_STEPS: dict[str, tuple[Function, Function, Function]] = {
    "floor": (_floor, lambda x: _ceil(x) - 1, _floor),
    "ceil": (_ceil, _ceil, lambda x: _floor(x) + 1),
    "to_even": (_to_even, lambda x: _ceil(x - 0.5), lambda x: _floor(x + 0.5)),
    "from_zero": (_from_zero, lambda x: _ceil(x - 0.5), lambda x: _floor(x + 0.5)),
    "truncate": (
        lambda x: _floor(x) if _positive(x) else _ceil(x),
        lambda x: _ceil(x) - 1 if _positive(x) else _ceil(x),
        lambda x: _floor(x) + 1 if _positive(-x) else _floor(x),
    ),
    "sign": (
        lambda x: x if x == 0 or x.is_nan() else arb(1) if _positive(x) else arb(-1),
        lambda x: arb(1) if _positive(x) else arb(-1),
        lambda x: arb(-1) if _positive(-x) else arb(1),
    ),
}


def step(name: str, x: Dual, ties: Ties) -> Dual:
    """A number that is constant by pieces; where it jumps, between its limits."""
    at, below, above = (lift(part) for part in _STEPS[name])
    value = at(x.value)
    if x.tangents is None and x.nearby is None:
        return Dual(value, None)
    if x.nearby is not None:
        low, high = (lift(end)(x.nearby) for end in (arb.lower, arb.upper))
        return Dual(value, None, joined(below(low), above(high)))
    low, high = below(x.value), above(x.value)
    jumps = low != high
    moves = sides(slopes(x, value.ndim), zeros(()))
    if ties is Ties.POINT or not np.any(jumps & (moves != 0)):
        return Dual(value, None)
    if ties is Ties.RAY:
        value = np.where(jumps & (moves[0] == 1), high, value)
        value = np.where(jumps & (moves[0] == -1), low, value)
        moves = moves * (moves == UNSURE)
    opened = jumps & (moves != 0)
    nearby = np.where(opened, joined(low, high), value)
    return Dual(value, None, nearby if np.any(opened) else None)
