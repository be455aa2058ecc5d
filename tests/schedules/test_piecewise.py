import math
from typing import Any

import hypothesis.strategies as st
import optax
import pytest
from hypothesis import given

from purenn import schedules
from purenn.errors import DomainError, DtypeError, TreeError
from tests.schedules.beside_optax import VALUES, assert_agrees

SCALES = st.just(0.0) | st.floats(1e-3, 10)
BOUNDARIES = st.none() | st.dictionaries(st.integers(0, 1000), SCALES, max_size=4)
PIECEWISE: dict[str, tuple[Any, ...]] = {
    "piecewise_constant_schedule": (),
    "piecewise_interpolate_schedule": ("cosine",),
}
ONE_CYCLES = ["linear_onecycle_schedule", "cosine_onecycle_schedule"]


@given(VALUES, BOUNDARIES)
def test_constant(init: float, boundaries: dict[int, float] | None) -> None:
    ours, theirs = schedules.piecewise_constant_schedule, optax.piecewise_constant_schedule
    assert_agrees(ours(init, boundaries), theirs(init, boundaries), boundaries or {})


@given(st.sampled_from(["linear", "cosine"]), VALUES, BOUNDARIES)
def test_interpolate(kind: str, init: float, boundaries: dict[int, float] | None) -> None:
    ours, theirs = schedules.piecewise_interpolate_schedule, optax.piecewise_interpolate_schedule
    assert_agrees(ours(kind, init, boundaries), theirs(kind, init, boundaries), boundaries or {})


@given(
    st.integers(20, 1000), VALUES, st.floats(0, 0.5), st.floats(0.6, 0.9), st.floats(1, 100),
    st.floats(0.1, 1e5),
)  # fmt: skip
def test_one_cycle(
    steps: int, peak: float, start: float, final: float, div: float, final_div: float
) -> None:
    marks = [int(start * steps), int(final * steps), steps]
    arguments = (steps, peak, start, final, div, final_div)
    ours, theirs = schedules.linear_onecycle_schedule, optax.linear_onecycle_schedule
    assert_agrees(ours(*arguments), theirs(*arguments), marks)
    two_phases = (steps, peak, start, div, final_div)
    waves = schedules.cosine_onecycle_schedule(*two_phases)
    assert_agrees(waves, optax.cosine_onecycle_schedule(*two_phases), marks)


def test_the_defaults_are_those_of_optax() -> None:
    for name in ONE_CYCLES:
        assert_agrees(getattr(schedules, name)(100, 1.0), getattr(optax, name)(100, 1.0), [30, 85])


@given(st.sampled_from([*PIECEWISE]), VALUES, st.integers(-1000, -1), SCALES)
def test_negative_boundaries_and_scales_are_refused(
    name: str, init: float, negative: int, scale: float
) -> None:
    make, first = getattr(schedules, name), (*PIECEWISE[name], init)
    with pytest.raises(DomainError, match=f"{name}: a boundary is {negative}, expected at least 0"):
        make(*first, {3: 0.5, negative: scale})
    for wrong in (float(negative), math.nan, math.inf):
        with pytest.raises(
            DomainError, match=f"{name}: the scale at 3 is {wrong}, expected a finite number ≥ 0"
        ):
            make(*first, {3: wrong, 5: scale})


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", PIECEWISE)
def test_what_is_no_boundary_or_scale_is_refused(name: str) -> None:
    make, first = getattr(schedules, name), (*PIECEWISE[name], 1.0)
    with pytest.raises(
        TreeError, match=f"{name}: boundaries_and_scales is a list, expected a dict"
    ):
        make(*first, [(3, 0.5)])
    with pytest.raises(DtypeError, match=f"{name}: a boundary is 3.0, expected an int"):
        make(*first, {3.0: 0.5})
    with pytest.raises(DtypeError, match=f"{name}: the scale at 3 is None, expected a number"):
        make(*first, {3: None})
    with pytest.raises(DtypeError, match=f"{name}: init_value is None, expected a number"):
        make(*first[:-1], None)
    with pytest.raises(DomainError, match=f"{name}: step is -1, expected at least 0"):
        make(*first)(-1)


def test_another_interpolation_is_refused() -> None:
    with pytest.raises(
        DomainError, match=r"interpolate_type is 'cubic', expected one of \['linear', 'cosine'\]"
    ):
        schedules.piecewise_interpolate_schedule("cubic", 1.0)


@pytest.mark.parametrize("name", ONE_CYCLES)
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"transition_steps": 0}, "transition_steps is 0, expected at least 1"),
        ({"peak_value": math.inf}, "peak_value is inf, expected a finite number"),
        ({"pct_start": -0.1}, "pct_start is -0.1, expected a finite number ≥ 0 and ≤ 1"),
        ({"pct_start": 1.0}, "the phases end at steps .*, expected an increase"),
        ({"div_factor": 0.0}, "div_factor is 0.0, expected a finite number > 0"),
        ({"final_div_factor": -1.0}, "final_div_factor is -1.0, expected a finite number > 0"),
    ],
)
def test_a_one_cycle_out_of_its_domain_is_refused(
    name: str, wrong: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DomainError, match=f"{name}: {expected}"):
        getattr(schedules, name)(**{"transition_steps": 100, "peak_value": 1.0, **wrong})


@given(st.floats(0, 1), st.floats(0, 1))
def test_phases_that_fall_together_are_refused(one: float, other: float) -> None:
    start, final = max(one, other), min(one, other)
    with pytest.raises(DomainError, match=r"the phases end at steps .*, expected an increase"):
        schedules.linear_onecycle_schedule(100, 1.0, start, final)
