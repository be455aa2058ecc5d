"""Values at given steps, held or interpolated between them."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from operator import mul
from typing import TypeAlias

from purenn.contract import check_integer, check_number
from purenn.errors import DomainError, TreeError
from purenn.schedules._step import Curve, Schedule, scheduled


def piecewise_constant_schedule(
    init_value: float, boundaries_and_scales: dict[int, float] | None = None
) -> Schedule:
    """I, multiplied by a scale at each boundary: I·Πsᵢ over all i with bᵢ ≤ step.

    Args:
        init_value: I, finite.
        boundaries_and_scales: ``{b: s}`` with b ≥ 0 and s ≥ 0.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: a value is no number, or a boundary no integer.
        TreeError: ``boundaries_and_scales`` is no dict.
    """
    name = "piecewise_constant_schedule"
    bounds, values = _steps_and_values(name, init_value, boundaries_and_scales)
    return scheduled(name, lambda step: values[bisect_right(bounds, step)])


def piecewise_interpolate_schedule(
    interpolate_type: str,
    init_value: float,
    boundaries_and_scales: dict[int, float] | None = None,
) -> Schedule:
    """From one value of :func:`piecewise_constant_schedule` to the next without a jump.

    From u at one boundary to v at the next, the fraction f of the way behind, the value is
    u + (v − u)·f if ``"linear"`` and v + ½(u − v)(1 + cos πf) if ``"cosine"``. The first way begins
    at step 0; the last value stays.

    Args:
        interpolate_type: ``"linear"`` or ``"cosine"``.
        init_value: As there.
        boundaries_and_scales: As there.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: a value is no number, or a boundary no integer.
        TreeError: ``boundaries_and_scales`` is no dict.
    """
    name = "piecewise_interpolate_schedule"
    if interpolate_type not in _BETWEEN:
        raise DomainError(
            f"{name}: interpolate_type is {interpolate_type!r}, expected one of {[*_BETWEEN]}"
        )
    bounds, values = _steps_and_values(name, init_value, boundaries_and_scales)
    return scheduled(name, _interpolated(_BETWEEN[interpolate_type], bounds, values))


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """One cycle in straight lines, up to a peak P, down again, and down further.

    =====  =====  ===============  ===============  =====================================
    step   0      ⌊pct_start·T⌋    ⌊pct_final·T⌋    T and later
    value  P/div  P                P/div            P/div/final_div
    =====  =====  ===============  ===============  =====================================

    Args:
        transition_steps: T ≥ 1, and enough for three different ends of the lines. (Of two that
            fall together optax drops the first.)
        peak_value: P, finite.
        pct_start: In [0, 1].
        pct_final: In [0, 1].
        div_factor: > 0.
        final_div_factor: > 0.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or ``transition_steps`` no integer.

    Smith & Topin, *Super-convergence: very fast training of neural networks using large learning
    rates*, arXiv:1708.07120.
    """
    turns = {"pct_start": pct_start, "pct_final": pct_final}
    return _onecycle(
        "linear_onecycle_schedule", _linear, transition_steps, peak_value, turns, div_factor,
        final_div_factor,
    )  # fmt: skip


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """One cycle in two half waves, up to a peak P and down.

    =====  =====  ===============  =====================================
    step   0      ⌊pct_start·T⌋    T and later
    value  P/div  P                P/div/final_div
    =====  =====  ===============  =====================================

    PyTorch's ``OneCycleLR`` has the same values at ``pct_start``·T − 1 and T − 1.

    Args:
        transition_steps: T ≥ 1.
        peak_value: P, finite.
        pct_start: In [0, 1).
        div_factor: > 0.
        final_div_factor: > 0.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or ``transition_steps`` no integer.

    Smith & Topin, as for :func:`linear_onecycle_schedule`.
    """
    return _onecycle(
        "cosine_onecycle_schedule", _cosine, transition_steps, peak_value,
        {"pct_start": pct_start}, div_factor, final_div_factor,
    )  # fmt: skip


_Between: TypeAlias = Callable[[float, float, float], float]


def _onecycle(
    name: str,
    between: _Between,
    transition_steps: int,
    peak_value: float,
    turns: Mapping[str, float],
    div_factor: float,
    final_div_factor: float,
) -> Schedule:
    steps = check_integer(name, "transition_steps", transition_steps, least=1)
    peak = check_number(name, "peak_value", peak_value)
    low = peak / check_number(name, "div_factor", div_factor, gt=0)
    last = low / check_number(name, "final_div_factor", final_div_factor, gt=0)
    fractions = [check_number(name, turn, pct, ge=0, le=1) for turn, pct in turns.items()]
    bounds = [*(int(fraction * steps) for fraction in fractions), steps]
    if any(one >= other for one, other in pairwise(bounds)):
        raise DomainError(f"{name}: the phases end at steps {bounds}, expected an increase")
    values = [low, peak, *[low] * (len(fractions) - 1), last]
    return scheduled(name, _interpolated(between, bounds, values))


def _interpolated(between: _Between, bounds: Sequence[int], values: Sequence[float]) -> Curve:
    """The curve through ``values``, the first at step 0 and one at each of ``bounds``."""
    starts = [0, *bounds]

    def curve(step: int) -> float:
        i = bisect_right(bounds, step)
        if i == len(bounds):
            return values[i]
        return between(values[i], values[i + 1], (step - starts[i]) / (bounds[i] - starts[i]))

    return curve


def _linear(start: float, end: float, fraction: float) -> float:
    return (end - start) * fraction + start


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))


_BETWEEN: dict[str, _Between] = {"linear": _linear, "cosine": _cosine}


def _steps_and_values(
    name: str, init_value: float, boundaries_and_scales: object
) -> tuple[list[int], list[float]]:
    """The boundaries in order, and the value before the first and from each on."""
    init = check_number(name, "init_value", init_value)
    given = {} if boundaries_and_scales is None else boundaries_and_scales
    if not isinstance(given, dict):
        raise TreeError(
            f"{name}: boundaries_and_scales is a {type(given).__name__}, expected a dict"
        )
    bounds = sorted(check_integer(name, "a boundary", bound, least=0) for bound in given)
    scales = (check_number(name, f"the scale at {b}", given[b], ge=0) for b in bounds)
    return bounds, [*accumulate(scales, mul, initial=init)]
