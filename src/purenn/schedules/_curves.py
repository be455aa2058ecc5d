"""The curves that schedules are made of: what several of them take is checked here, once.

``name`` is the schedule that is asked for. A first or last value has other names elsewhere, so it
has been checked before.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence

from purenn.contract import check_integer, check_number
from purenn.schedules._step import Curve, check_bool


def polynomial(
    name: str,
    init: float,
    end: float,
    transition_steps: int,
    transition_begin: int,
    power: float = 1.0,
) -> Curve:
    """See :func:`purenn.schedules.polynomial_schedule`."""
    steps = check_integer(name, "transition_steps", transition_steps, least=1)
    begin = check_integer(name, "transition_begin", transition_begin)

    def curve(step: int) -> float:
        left = 1 - min(max(step - begin, 0), steps) / steps
        return (init - end) * math.pow(left, power) + end

    return curve


def exponential(
    name: str,
    init: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int,
    staircase: bool,
    end_value: float | None,
) -> Curve:
    """See :func:`purenn.schedules.exponential_decay`."""
    periods = elapsed(name, transition_steps, transition_begin, staircase)
    rate = check_number(name, "decay_rate", decay_rate, gt=0)
    bound = max if rate < 1 else min
    end = None if end_value is None else check_number(name, "end_value", end_value)

    def curve(step: int) -> float:
        try:
            factor = math.pow(rate, periods(step))
        except OverflowError:
            factor = math.inf  # which may be bounded
        value = init * factor if init else init
        return value if end is None else bound(value, end)

    return curve


def elapsed(name: str, transition_steps: int, transition_begin: int, staircase: bool) -> Curve:
    """Periods since the beginning, t/T or ⌊t/T⌋."""
    steps = check_integer(name, "transition_steps", transition_steps, least=1)
    begin = check_integer(name, "transition_begin", transition_begin)
    check_bool(name, "staircase", staircase)
    if staircase:
        return lambda step: max(step - begin, 0) // steps
    return lambda step: max(step - begin, 0) / steps


def cosine(name: str, init: float, end: float, steps: int, exponent: float) -> Curve:
    """See :func:`purenn.schedules.cosine_decay_schedule`."""
    power = check_number(name, "exponent", exponent, gt=0)

    def curve(step: int) -> float:
        half_wave = 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
        return (init - end) * math.pow(half_wave, power) + end

    return curve


def joined(curves: Sequence[Curve], boundaries: Sequence[int]) -> Curve:
    """See :func:`purenn.schedules.join_schedules`."""
    starts = [0, *boundaries]

    def curve(step: int) -> float:
        i = bisect_right(boundaries, step)
        return curves[i](step - starts[i])

    return curve
