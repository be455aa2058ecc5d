"""How far off is too far: one unit and one tolerance for every rule."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from purenn.typing import Array
from purenn.verify import balls, floats
from purenn.verify.balls import Balls

TOLERANCE = 8.0
"""In units in the last place of the terms that a number is the sum of."""

POOR = 1e-3
"""A truth that is less certain than this part of its terms, or of their average, judges nothing."""

BEYOND = "a square that leaves the range"
"""What it is excused by where numbers are too large or too small to be squared."""


class Quantity(NamedTuple):
    """A value, a cotangent or a tangent, in everybody's telling."""

    name: str
    ours: Array
    truth: Balls
    scale: Array
    """The size of the terms that it is the sum of."""
    rivals: Mapping[str, Array] = MappingProxyType({})
    """Autodiff in the same dtype, by name."""
    sensitivity: Callable[[], Array] | None = None
    """What to allow beyond ``scale`` for ill-conditioned inputs; costly, so asked late."""
    less_lucky: Callable[[], list[Array]] = list
    """How far autodiff is off where it may be less lucky, in absolute numbers; asked last."""
    on_the_way: Callable[[], Array] | None = None
    """How large the terms are between here and the origin; asked last of all."""
    rounding: float = 0.0
    """The rounding error of a number as large as dy: what a formula that cancels is left with."""
    exact: bool = True
    """Whether an interval in the truth is a kink, rather than ignorance."""
    flushed: bool = False
    """Whether an input is subnormal: XLA takes it for 0, which says nothing of autodiff."""
    steepness: float = 0.0
    """How large the derivative is on average, where that is what its uncertainty is held to."""
    extreme: bool = False
    """Whether the square of an input overflows or underflows, and with it what is made of it."""


class Judgement(NamedTuple):
    """What came of a quantity, place by place."""

    errors: Array
    """In ULPs; NaN where nothing can be said."""
    rivals: Array
    """The worst of the rivals, in ULPs; NaN where there is none."""
    place: tuple[int, ...] | None
    """Where it is wrong, if it is."""
    excused: str
    """What alone it is right by: that autodiff is no better, or the rounding of larger terms."""
    undecided: int
    """At how many places the truth is too uncertain to judge."""


def ulp(scale: Array, dtype: np.dtype[Any]) -> Array:
    """The spacing of ``dtype`` at ``scale``, in float64; no less than at its smallest normal."""
    _, exponent = np.frexp(np.maximum(scale, floats.tiny(dtype)))
    return np.asarray(np.ldexp(1.0, exponent - 1 - floats.mantissa(dtype)))


def errors(x: Array, truth: Balls, scale: Array) -> Array:
    """|x − truth| in ULPs of ``scale``; 0 where nothing can be asked.

    Nothing is asked where the terms overflow the dtype, and below its smallest normal number no
    more than to be there too: a result that underflows to 0 is right.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = balls.distance(x, truth) / _unit(truth, scale, x.dtype)
    largest = floats.largest(x.dtype)
    asked = (scale <= largest / 4) & np.isfinite(balls.nearest(truth))
    return np.where(asked, found, 0.0)


def _unit(truth: Balls, scale: Array, dtype: np.dtype[Any]) -> Array:
    tiny = floats.tiny(dtype)
    unit = ulp(scale, dtype)
    return np.where(np.abs(balls.nearest(truth)) < tiny, np.maximum(unit, tiny), unit)


def judge(it: Quantity) -> Judgement:
    """Measure the errors of a quantity, and say whether they are too large.

    They are measured in ULPs of the terms; where that is too strict for the rule, of the terms
    and of what rounding of the inputs alone does to an ill-conditioned result. Where autodiff in
    the same dtype loses digits, the rule may lose as many, up to all of them. And a derivative
    that vanishes, as in saturation, may be the difference of numbers as large as it was before.
    Where the square of an input overflows or underflows, all digits may be lost.
    """
    scale = it.scale
    poor = is_poor(it)
    found = errors(it.ours, it.truth, scale)
    if _largest(found) > TOLERANCE and it.sensitivity is not None:
        scale = scale + it.sensitivity()
        found = errors(it.ours, it.truth, scale)
    rivals = _worst([errors(rival, it.truth, scale) for rival in it.rivals.values()], found.shape)
    told = np.where(poor & ~(found > TOLERANCE), np.nan, found)
    result = Judgement(told, rivals, None, "", int(np.sum(np.isnan(told))))
    if _largest(found) <= TOLERANCE:
        return result
    unit = _unit(it.truth, scale, it.ours.dtype)
    with np.errstate(over="ignore"):
        everybody = _worst([rivals, *(off / unit for off in it.less_lucky())], found.shape)
    excuse = np.where(np.isnan(everybody), 0.0, everybody)
    all_digits = errors(np.zeros_like(it.ours), it.truth, scale)
    with np.errstate(over="ignore"):
        one_rounding = it.rounding / ulp(scale, it.ours.dtype)
    nothing_left = np.maximum(all_digits, one_rounding)
    # What is random may be three times as large; eight times as far off as autodiff is no worse
    # either, unless nothing right is left. Without autodiff, what is left of terms that cancel is
    # as large as they are rounded.
    with np.errstate(over="ignore"):
        excused = np.maximum(3 * excuse, np.minimum(TOLERANCE * excuse, nothing_left))
    excused = excused if it.rivals else one_rounding
    wrong = found > np.maximum(TOLERANCE, excused)
    if not wrong.any():
        return result._replace(excused=_excuse(it))
    if it.on_the_way is not None:
        with np.errstate(over="ignore"):
            larger_terms = TOLERANCE * ulp(it.on_the_way(), it.ours.dtype) / unit
        excused = np.maximum(excused, larger_terms)
        wrong = found > np.maximum(TOLERANCE, excused)
        if not wrong.any():
            return result._replace(excused="rounding")
    if it.extreme:
        wrong &= np.isfinite(it.ours) & (found > all_digits)
        if not wrong.any():
            return result._replace(excused=BEYOND)
    with np.errstate(invalid="ignore"):
        weight = np.where(wrong, found - np.minimum(excused, found), -1.0)
    weight = np.where(np.isnan(weight), np.inf, weight)
    place = np.unravel_index(int(np.argmax(weight)), found.shape)
    return result._replace(place=tuple(int(i) for i in place))


def _excuse(it: Quantity) -> str:
    return "f itself" if "f" in it.rivals else "JAX's autodiff" if it.rivals else "rounding"


def expected(ball: Any) -> str:
    """The number, or at a kink the ends of what is right."""
    middle, radius = float(ball.mid()), float(ball.rad())
    if radius <= 1e-6 * abs(middle) or radius < 1e-300:
        return f"{middle:.17g}"
    ends = (float(ball.lower()), float(ball.upper()))
    return " to ".join(f"{0.0 if abs(end) < 1e-6 * radius else end:.6g}" for end in ends)


def is_wide(truth: Balls, scale: Array) -> Array:
    """Where a truth is an interval, as it is at a kink."""
    flat = np.asarray(truth, object).ravel()
    radii = np.array([float(ball.rad()) for ball in flat]).reshape(np.shape(truth))
    return np.asarray(np.isfinite(radii) & (radii > 1e-6 * scale) & (radii > 0))


def is_poor(it: Quantity) -> Array:
    """Where the truth is too uncertain to judge."""
    if it.exact:
        return np.zeros(it.ours.shape, bool)
    flat = np.asarray(it.truth, object).ravel()
    radii = np.array([float(ball.rad()) for ball in flat]).reshape(it.ours.shape)
    return np.asarray(~(radii <= POOR * np.maximum(it.scale, it.steepness) + it.rounding))


def _worst(errors: list[Array], shape: tuple[int, ...]) -> Array:
    if not errors:
        return np.full(shape, np.nan)
    return np.asarray(np.fmax.reduce(errors))


def _largest(found: Array) -> float:
    return float(np.max(found, initial=0.0))
