"""How far to go along a direction that descends: a step that satisfies the strong Wolfe conditions.

With φ(α) = f(x + α·d) and φ′(α) = ⟨∇f(x + α·d), d⟩, a step α satisfies them when

    φ(α) ≤ φ(0) + c₁·α·φ′(0)    it decreases enough
    |φ′(α)| ≤ c₂·|φ′(0)|        it has come near to where φ is level
"""

import math
import sys
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from purenn.contract import check_function, check_integer, check_number

ValueAndSlope: TypeAlias = Callable[[float], tuple[float, float, Any]]
Condition: TypeAlias = Literal["strong", "approximate", "decrease", "none"]


class LineSearchResult(NamedTuple):
    """Where a search has ended.

    Attributes:
        step: α, or 0 where nothing better than the start was found.
        value: φ(α).
        slope: φ′(α).
        evaluations: How often φ was evaluated.
        condition: What is known of the step. ``strong``: the strong Wolfe conditions hold.
            ``approximate``: they hold, but the decrease is less than the rounding of values and
            was told from the slopes. ``decrease``: φ(α) < φ(0) and no more. ``none``: α = 0.
        aux: What came with φ(α), ``None`` at 0.
    """

    step: float
    value: float
    slope: float
    evaluations: int
    condition: Condition
    aux: Any


class _Trial(NamedTuple):
    """A step with φ(α), φ′(α) and the gain φ(α) − φ(0), which ``lost`` says is below rounding."""

    step: float
    value: float
    slope: float
    gain: float
    lost: bool = False
    aux: Any = None


def wolfe_line_search(
    value_and_slope: ValueAndSlope,
    value: float,
    slope: float,
    *,
    init_step: float = 1.0,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_steps: int = 25,
    eps: float = sys.float_info.epsilon,
    noise: float = 10.0,
) -> LineSearchResult:
    """Find a step that satisfies the strong Wolfe conditions.

    The step grows until an interval (lo, hi) is known to hold such steps, and the interval then
    shrinks: lo has decreased enough, more than any other step so far, and φ falls from lo towards
    hi. The next step is the minimizer of the cubic through φ and φ′ at both ends, kept off the
    ends by a tenth of the interval. A step where φ or φ′ is not finite is worse than any other.

    Near a minimum φ(α) − φ(0) drowns in the rounding of both. Where it is at most
    δ = noise·eps·|φ(0)|, and the trapezoid α·(φ′(0) + φ′(α))/2 as well, the latter takes its place.
    The first condition is then Hager & Zhang's approximate one, φ′(α) ≤ (2c₁ − 1)·φ′(0), and φ may
    rise by δ, which says nothing. Otherwise a step never raises φ. The search ends early where
    what is left to be gained, |φ′(lo)|·|hi − lo|, is at most eps·|φ(0)| and φ(hi) is off by more
    than δ.

    Args:
        value_and_slope: ``α -> (φ(α), φ′(α), aux)``; whatever ``aux`` is, it is handed back.
        value: φ(0).
        slope: φ′(0), < 0.
        init_step: The first step that is tried, > 0.
        c1: c₁, > 0 and < c₂.
        c2: c₂, > 0 and < 1.
        max_steps: How often φ is evaluated at most.
        eps: The machine epsilon of the values, ≥ 0.
        noise: By how many of these, relative to itself, a value may be wrong, ≥ 0.

    Raises:
        DomainError: an argument lies outside its domain; ``slope`` ≥ 0 descends nowhere.
        DtypeError: an argument is no number, or ``value_and_slope`` no function.

    Nocedal & Wright, *Numerical Optimization*, 2nd ed. (2006), algorithms 3.5 and 3.6. Hager &
    Zhang, *A new conjugate gradient method with guaranteed descent and an efficient line search*,
    SIAM J. Optim. 16 (2005).
    """
    name = "wolfe_line_search"
    check_function(name, "value_and_slope", value_and_slope)
    value = check_number(name, "value", value)
    slope = check_number(name, "slope", slope, lt=0)
    step = check_number(name, "init_step", init_step, gt=0)
    c2 = check_number(name, "c2", c2, gt=0, lt=1)
    c1 = check_number(name, "c1", c1, gt=0, lt=c2)
    max_steps = check_integer(name, "max_steps", max_steps, least=1)
    ulp = check_number(name, "eps", eps, ge=0) * abs(value)
    delta = check_number(name, "noise", noise, ge=0) * ulp

    start = best = lo = before = _Trial(0.0, value, slope, 0.0, lost=True)
    hi = _Trial(math.inf, math.inf, math.inf, math.inf)
    evaluations = 0
    condition: Condition | None = None
    while evaluations < max_steps and math.isfinite(step):
        new = _try(value_and_slope, step, start, delta)
        evaluations += 1
        if new.value < best.value:
            best = new
        if new.gain > c1 * step * slope or new.gain >= lo.gain:
            hi = new
        elif abs(new.slope) <= -c2 * slope:
            best, condition = new, "approximate" if new.lost else "strong"
            break
        else:
            before, lo = lo, new
            if new.slope * (hi.step - before.step) > 0:
                hi = before
        if math.isinf(hi.step):
            step = _clip(_minimizer(before, lo), 2 * lo.step, 10 * lo.step, 10 * lo.step)
            continue
        other, middle = (hi, 0.5) if math.isfinite(hi.gain) else (start, 0.1)
        span = hi.step - lo.step
        if abs(lo.slope * span) <= ulp and not hi.lost:
            break
        share = (_minimizer(lo, other) - lo.step) / span
        step = lo.step + span * _clip(share, 0.1, 0.9, middle)
    condition = condition or ("decrease" if best.step else "none")
    return LineSearchResult(best.step, best.value, best.slope, evaluations, condition, best.aux)


def _try(value_and_slope: ValueAndSlope, step: float, start: _Trial, delta: float) -> _Trial:
    value, slope, aux = value_and_slope(step)
    value, slope = float(value), float(slope)
    if not math.isfinite(value) or not math.isfinite(slope):
        return _Trial(step, math.inf, math.inf, math.inf)
    gain, trapezoid = value - start.value, step * (start.slope + slope) / 2
    lost = abs(gain) <= delta and abs(trapezoid) <= delta
    return _Trial(step, value, slope, trapezoid if lost else gain, lost, aux)


def _clip(x: float, low: float, high: float, otherwise: float) -> float:
    return otherwise if math.isnan(x) else min(max(x, low), high)


def _minimizer(a: _Trial, b: _Trial) -> float:
    """Where the cubic through both has its minimum (equation 3.59), NaN if it has none."""
    span = b.step - a.step
    if not span:
        return math.nan
    d1 = a.slope + b.slope - 3 * (b.gain - a.gain) / span
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), span)
    below = b.slope - a.slope + 2 * d2
    return b.step - span * (b.slope + d2 - d1) / below if below else math.nan
