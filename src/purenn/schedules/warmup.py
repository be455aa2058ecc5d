"""Schedules one after another: a warm-up before a decay, and restarts."""

import inspect
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

from purenn.contract import check_function, check_integer, check_number
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.schedules._curves import cosine, exponential, joined, polynomial
from purenn.schedules._step import Curve, Schedule, scheduled, without_dimensions


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """Each schedule until the next boundary; its own steps are counted from the one before.

    Args:
        schedules: Functions of the step, at least one.
        boundaries: One less than schedules, increasing, the first ≥ 0: the step from which on the
            next schedule holds. (optax takes any, and leaves out what has no partner.)

    Raises:
        DomainError: the boundaries are too few or many, or do not increase.
        DtypeError: a schedule is no function or a boundary no integer, or they are not in a list.

    Raises, when the returned function is called:
        DtypeError: the schedule that holds gives no number.
        DomainError: it is not finite.
    """
    name = "join_schedules"
    for argument, given in (("schedules", schedules), ("boundaries", boundaries)):
        if not isinstance(given, list | tuple):
            raise DtypeError(
                f"{name}: {argument} is a {type(given).__name__}, expected a list or tuple"
            )
    for i, schedule in enumerate(schedules):
        check_function(name, f"schedules[{i}]", schedule)
    steps = [
        check_integer(name, f"boundaries[{i}]", boundary, least=0)
        for i, boundary in enumerate(boundaries)
    ]
    if len(schedules) != len(steps) + 1:
        raise DomainError(
            f"{name}: got {len(schedules)} schedules and {len(steps)} boundaries, "
            "expected one schedule more"
        )
    if any(one >= other for one, other in pairwise(steps)):
        raise DomainError(f"{name}: boundaries are {steps}, expected an increase")

    def numbers(argument: str, schedule: Schedule) -> Curve:
        return lambda step: check_number(
            name, f"{argument}({step})", without_dimensions(schedule(step))
        )

    curves = [numbers(f"schedules[{i}]", schedule) for i, schedule in enumerate(schedules)]
    return scheduled(name, joined(curves, steps))


def warmup_constant_schedule(init_value: float, peak_value: float, warmup_steps: int) -> Schedule:
    """From I to P in a straight line of W steps, then P.

    Args:
        init_value: I, finite.
        peak_value: P, finite.
        warmup_steps: W ≥ 1. With less, as optax allows, I would stay for ever.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or ``warmup_steps`` no integer.
    """
    name = "warmup_constant_schedule"
    init = check_number(name, "init_value", init_value)
    peak = check_number(name, "peak_value", peak_value)
    steps = check_integer(name, "warmup_steps", warmup_steps, least=1)
    return scheduled(name, polynomial(name, init, peak, steps, 0))


def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Schedule:
    """From I to P in a straight line of W steps, then to E along half a wave until step T.

    From W on it is E + (P − E)·(½(1 + cos(π(t − W)/(T − W))))ᵖ, t the step, at most T. This is
    optax's P·((1 − E/P)·… + E/P) without its division: where P is 0 optax leaves E out.

    Args:
        init_value: I, finite.
        peak_value: P, finite.
        warmup_steps: W ≥ 0; 0 for no warm-up.
        decay_steps: T > W: the warm-up is counted in.
        end_value: E, finite.
        exponent: p > 0.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no integer where it counts steps.
    """
    name = "warmup_cosine_decay_schedule"
    return scheduled(
        name,
        _warmup_cosine(
            name, init_value, peak_value, warmup_steps, decay_steps, end_value, exponent
        ),
    )


def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """From I to P in a straight line of W steps, then :func:`exponential_decay` from P.

    Args:
        init_value: I, finite.
        peak_value: P, finite.
        warmup_steps: W ≥ 0; 0 for no warm-up.
        transition_steps: As there.
        decay_rate: As there.
        transition_begin: As there, counted from the end of the warm-up.
        staircase: As there.
        end_value: As there; the warm-up has no bound.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no integer where it counts steps, or no bool.
    """
    name = "warmup_exponential_decay_schedule"
    peak = check_number(name, "peak_value", peak_value)
    decay = exponential(
        name, peak, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return scheduled(name, _warmed_up(name, init_value, peak, warmup_steps, decay))


def sgdr_schedule(cosine_kwargs: Iterable[dict[str, Any]]) -> Schedule:
    """Cosine decay with restarts: one :func:`warmup_cosine_decay_schedule` after another.

    A cycle lasts its ``decay_steps``; the last one stays at its end. The paper's cycles have no
    warm-up and each is T_mult times as long as the one before:

    >>> schedule = sgdr_schedule(
    ...     {"init_value": 0.0, "peak_value": 0.05, "warmup_steps": 0, "decay_steps": 10 * 2**i}
    ...     for i in range(3)
    ... )
    >>> [round(schedule(epoch), 12) for epoch in (0, 5, 10, 20, 30, 50, 70)]
    [0.05, 0.025, 0.05, 0.025, 0.05, 0.025, 0.0]

    Args:
        cosine_kwargs: The arguments of each cycle, at least one.

    Raises:
        DomainError: an argument lies outside its domain, or there is no cycle.
        DtypeError: an argument is no number, or no integer where it counts steps, or
            ``cosine_kwargs`` nothing to go through.
        TreeError: a cycle is no dict of the arguments of :func:`warmup_cosine_decay_schedule`.

    Loshchilov & Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017,
    arXiv:1608.03983.
    """
    name = "sgdr_schedule"
    if not isinstance(cosine_kwargs, Iterable):
        raise DtypeError(f"{name}: cosine_kwargs is {cosine_kwargs!r}, expected a list of dicts")
    cycles = [
        _cycle(f"{name}: cosine_kwargs[{i}]", kwargs) for i, kwargs in enumerate(cosine_kwargs)
    ]
    if not cycles:
        raise DomainError(f"{name}: cosine_kwargs is empty, expected at least one cycle")
    curves, lengths = zip(*cycles, strict=True)
    return scheduled(name, joined(curves, [*accumulate(lengths[:-1])]))


def _cycle(name: str, kwargs: object) -> tuple[Curve, int]:
    """A cycle and its length."""
    if not isinstance(kwargs, dict):
        raise TreeError(f"{name} is a {type(kwargs).__name__}, expected a dict")
    try:
        arguments = inspect.signature(warmup_cosine_decay_schedule).bind(**kwargs).arguments
    except TypeError as error:
        raise TreeError(f"{name}: {error}") from None
    return _warmup_cosine(name, **arguments), int(arguments["decay_steps"])


def _warmup_cosine(
    name: str,
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Curve:
    peak = check_number(name, "peak_value", peak_value)
    end = check_number(name, "end_value", end_value)
    start = check_integer(name, "warmup_steps", warmup_steps, least=0)
    steps = check_integer(name, "decay_steps", decay_steps) - start
    if steps < 1:
        raise DomainError(
            f"{name}: decay_steps is {decay_steps}, expected more than warmup_steps, {start}"
        )
    return _warmed_up(name, init_value, peak, start, cosine(name, peak, end, steps, exponent))


def _warmed_up(name: str, init_value: float, peak: float, warmup_steps: int, then: Curve) -> Curve:
    init = check_number(name, "init_value", init_value)
    steps = check_integer(name, "warmup_steps", warmup_steps, least=0)
    return joined([polynomial(name, init, peak, steps, 0), then], [steps]) if steps else then
