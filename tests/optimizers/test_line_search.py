"""A step satisfies what it is said to satisfy, by an evaluation of its own."""

import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from purenn.errors import DomainError, DtypeError
from purenn.optimizers.line_search import LineSearchResult, wolfe_line_search

Phi = Callable[[float], tuple[float, float]]

SIZES = st.floats(0.01, 10)


@st.composite
def smooth_functions(draw: Any) -> tuple[str, Phi]:
    """φ that is bounded below and descends at 0: bowls with waves, wells, walls and slopes."""
    a, b, w, c = draw(SIZES), draw(SIZES), draw(SIZES), draw(SIZES)
    shift, scale = draw(st.floats(-5, 5)), 10.0 ** draw(st.integers(-4, 4))
    kind = draw(st.sampled_from(["waves", "well", "wall", "quartic", "plateau"]))

    def plain(x: float) -> tuple[float, float]:
        if kind == "waves":
            y = x - 3
            return a * y * y + b * math.cos(w * y), 2 * a * y - b * w * math.sin(w * y)
        if kind == "well":
            y = (x - c) / b
            return -a / (1 + y * y), 2 * a * y / (1 + y * y) ** 2 / b
        if kind == "wall":
            return (a / (w + x) + b * x, b - a / (w + x) ** 2) if w + x > 0 else (math.inf,) * 2
        if kind == "quartic":
            y = x - c
            return a * y**4 - b * y**2, 4 * a * y**3 - 2 * b * y
        return a * math.sqrt(1 + (x - c) ** 2), a * (x - c) / math.sqrt(1 + (x - c) ** 2)

    def phi(step: float) -> tuple[float, float]:
        try:
            value, slope = plain(scale * step)
        except OverflowError:
            return math.inf, math.inf
        return value + shift, scale * slope

    return kind, phi


def search(phi: Phi, **options: Any) -> tuple[LineSearchResult, list[float]]:
    """With the steps that were tried, in order; each step is its own aux."""
    tried: list[float] = []

    def value_and_slope(step: float) -> tuple[float, float, float]:
        tried.append(step)
        return (*phi(step), step)

    result = wolfe_line_search(value_and_slope, *phi(0.0), **options)
    assert result.evaluations == len(tried)
    if result.step:
        assert (result.value, result.slope) == phi(result.step)
        assert result.aux == result.step in tried
    else:
        assert (result.value, result.slope) == phi(0.0)
        assert (result.condition, result.aux) == ("none", None)
    return result, tried


def assert_strong_wolfe(phi: Phi, step: float, c1: float, c2: float) -> None:
    (value, slope), (new, its_slope) = phi(0.0), phi(step)
    assert step > 0
    assert new <= value + c1 * step * slope
    assert abs(its_slope) <= c2 * abs(slope)


@settings(max_examples=300)
@given(
    smooth_functions(),
    st.floats(-4, 4).map(lambda x: 10.0**x),
    st.sampled_from([(1e-4, 0.9), (1e-4, 0.1), (0.3, 0.5), (1e-3, 0.01)]),
)
def test_the_strong_wolfe_conditions_hold(drawn: Any, init_step: float, c: Any) -> None:
    _, phi = drawn
    if not phi(0.0)[1] < -1e-6:
        return
    c1, c2 = c
    result, tried = search(phi, init_step=init_step, c1=c1, c2=c2, max_steps=60)
    assert tried[0] == init_step
    assert result.condition == "strong"
    assert_strong_wolfe(phi, result.step, c1, c2)


@given(st.floats(0.15, 0.85), SIZES, st.floats(0, 5))
def test_the_minimum_of_a_cubic_is_found_at_once(where: float, a: float, b: float) -> None:
    """φ′ = a·(x − where)·(x + b + 1): a cubic that falls from 0 to ``where`` and rises after it."""

    def phi(x: float) -> tuple[float, float]:
        p, q = b + 1 - where, -where * (b + 1)
        return a * (x**3 / 3 + p * x * x / 2 + q * x), a * (x * x + p * x + q)

    result, tried = search(phi, init_step=1.0, c1=1e-9, c2=1e-8)
    if len(tried) > 1:
        np.testing.assert_allclose(tried[1], where, rtol=1e-12)
        assert result.evaluations == 2


@settings(max_examples=100)
@given(
    st.floats(-8, 3).map(lambda x: 10.0**x),
    st.sampled_from([math.nan, math.inf, -math.inf]),
    st.booleans(),
)
def test_what_is_not_finite_is_stepped_back_from(edge: float, bad: float, in_slope: bool) -> None:
    """−x + x²/edge, whose minimum is edge/2, with nothing finite from ``edge`` on."""

    def phi(x: float) -> tuple[float, float]:
        if x >= edge:
            return (-1e3, bad) if in_slope else (bad, -1.0)
        return -x + x * x / edge, -1 + 2 * x / edge

    result, _ = search(phi, init_step=1.0)
    assert result.condition == "strong"
    assert result.step < edge
    assert_strong_wolfe(phi, result.step, 1e-4, 0.9)


def test_a_step_grows_where_the_function_only_falls() -> None:
    result, tried = search(lambda x: (-x, -1.0), max_steps=7)
    assert tried == [10.0**i for i in range(7)]
    assert (result.condition, result.step) == ("decrease", 1e6)
    result, _ = search(lambda x: (-x, -1.0), max_steps=1000)
    assert result.condition == "decrease"
    assert 1e300 < result.step < math.inf


def test_a_function_that_is_infinite_at_once_is_left_at_the_start() -> None:
    result, tried = search(lambda x: (math.nan if x else 1.0, -1.0))
    assert result.step == 0
    assert tried == sorted(tried, reverse=True)


@settings(max_examples=50)
@given(st.sampled_from([1.0, -3.0, 1e5]), st.floats(0.01, 1), st.floats(0.1, 3.9))
def test_what_values_cannot_tell_the_slopes_do(level: float, share: float, first: float) -> None:
    """A bowl that is shallower than the rounding of its value: the minimum is at 1."""
    ulp = np.finfo(float).eps * abs(level)
    rng = np.random.default_rng(0)

    def phi(x: float) -> tuple[float, float]:
        noise = ulp * float(rng.integers(-2, 3)) if x else 0.0
        return level + noise, share * ulp * (x - 1)

    result = wolfe_line_search(
        lambda x: (*phi(x), None), level, phi(0.0)[1], init_step=first, c1=0.1, c2=0.2
    )
    assert result.condition == "approximate"
    assert abs(result.slope) <= 0.2 * share * ulp
    assert result.value <= level + 10 * ulp


@given(st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_slopes_that_values_contradict_are_not_believed(slope: float, level: float) -> None:
    """φ rises, or does not change, whatever its slope says."""
    for rise in (0.0, 1.0):

        def phi(x: float, rise: float = rise) -> tuple[float, float]:
            return level + rise * x, -slope if x < 1e-9 else -slope / 2

        assert search(phi)[0].step == 0


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 12), st.floats(-3, 3).map(lambda x: 10.0**x))
def test_nothing_makes_it_climb(seed: int, max_steps: int, init_step: float) -> None:
    """Values and slopes that have nothing to do with each other: it takes the lowest."""
    seen: dict[float, tuple[float, float]] = {}
    rng = np.random.default_rng(seed)

    def phi(x: float) -> tuple[float, float]:
        if x == 0:
            return 0.0, -1.0
        found = rng.choice([rng.normal(), math.nan, math.inf]), rng.choice([rng.normal(), math.nan])
        return seen.setdefault(x, (float(found[0]), float(found[1])))

    result, _ = search(phi, max_steps=max_steps, init_step=init_step)
    finite = [value for value, slope in seen.values() if math.isfinite(value + slope)]
    if result.condition == "strong":
        assert_strong_wolfe(phi, result.step, 1e-4, 0.9)
    else:
        assert result.value == min([0.0, *finite])
        assert (result.condition == "decrease") == (result.step > 0)


def test_a_step_that_cannot_be_split_ends_the_search() -> None:
    """φ jumps up between two neighbouring numbers: no step has a slope that is level."""
    edge = 1.0 + 2**-30

    def phi(x: float) -> tuple[float, float]:
        return (-x, -1.0) if x < edge else (1.0, -1.0)

    result, _ = search(phi, max_steps=10_000)
    assert result.condition == "decrease"
    assert result.evaluations < 1000
    assert 1 <= result.step < edge


def test_the_search_ends_where_nothing_is_left_to_gain() -> None:
    result, _ = search(lambda x: (1.0 + x, -1e-12), max_steps=1000)
    assert result.step == 0
    assert result.evaluations < 12


def test_the_lower_end_stays_the_lowest() -> None:
    """Waves in a bowl: a step that is enough, but worse than another, does not take its place."""

    def phi(x: float) -> tuple[float, float]:
        y = x - 3
        value = 9.664233778119339 * y * y + 5.427812196743594 * math.cos(11.629451098631558 * y)
        slope = 2 * 9.664233778119339 * y
        return value, slope - 5.427812196743594 * 11.629451098631558 * math.sin(
            11.629451098631558 * y
        )

    result, _ = search(phi, init_step=122.32771689966228, c1=1e-3, c2=0.01)
    assert result.condition == "strong"
    assert result.evaluations <= 8


def test_float32_values_are_taken_for_what_they_are() -> None:
    eps = float(np.finfo(np.float32).eps)

    def value_and_slope(x: float) -> tuple[Any, Any, None]:
        return np.float32(1 + eps), np.float32(0.1 * eps * (x - 1)), None

    options: Any = {"init_step": 1.05}
    found = wolfe_line_search(value_and_slope, 1.0, -0.1 * eps, eps=eps, **options)
    assert (found.condition, type(found.value), type(found.slope)) == ("approximate", float, float)
    assert wolfe_line_search(value_and_slope, 1.0, -0.1 * eps, **options).condition == "none"
    exact = wolfe_line_search(value_and_slope, 1.0, -0.1 * eps, eps=eps, noise=0, **options)
    assert exact.condition == "none"


@settings(max_examples=50)
@given(
    st.sampled_from(
        [
            ("value", None, "a finite number"),
            ("slope", lambda x: x >= 0, "a finite number < 0"),
            ("init_step", lambda x: x <= 0, "a finite number > 0"),
            ("c1", lambda x: not 0 < x < 0.9, "a finite number > 0 and < 0.9"),
            ("c2", lambda x: not 0 < x < 1, "a finite number > 0 and < 1"),
            ("eps", lambda x: x < 0, "a finite number ≥ 0"),
            ("noise", lambda x: x < 0, "a finite number ≥ 0"),
        ]
    ),
    st.floats(-5, 5) | st.sampled_from([math.inf, -math.inf, math.nan]),
)
def test_numbers_outside_their_domain_are_refused(case: Any, wrong: float) -> None:
    argument, is_wrong, expected = case
    if math.isfinite(wrong) and not (is_wrong and is_wrong(wrong)):
        return
    arguments: Any = {"value": 1.0, "slope": -1.0, argument: wrong}
    message = f"wolfe_line_search: {argument} is {wrong}, expected {expected}"
    with pytest.raises(DomainError) as error:
        wolfe_line_search(lambda x: (0.0, 0.0, None), **arguments)
    assert str(error.value) == message


@pytest.mark.usefixtures("unannotated")
def test_what_is_no_number_or_no_function_is_refused() -> None:
    bare: Any = wolfe_line_search
    with pytest.raises(DtypeError, match="value_and_slope is 3, expected a function"):
        bare(3, 1.0, -1.0)
    with pytest.raises(DtypeError, match="c1 is '1', expected a number"):
        bare(lambda x: (0.0, 0.0, None), 1.0, -1.0, c1="1")
    with pytest.raises(DtypeError, match=r"max_steps is 2\.0, expected an int"):
        bare(lambda x: (0.0, 0.0, None), 1.0, -1.0, max_steps=2.0)
    with pytest.raises(DomainError, match="max_steps is 0, expected at least 1"):
        bare(lambda x: (0.0, 0.0, None), 1.0, -1.0, max_steps=0)
