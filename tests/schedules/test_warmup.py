import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn import schedules
from purenn.errors import DomainError, DtypeError, TreeError
from tests.schedules.beside_optax import FACTORS, LENGTHS, POWERS, VALUES, assert_agrees

WARMUPS = st.integers(0, 100)
CYCLES = st.fixed_dictionaries(
    {
        "init_value": VALUES,
        "peak_value": VALUES.filter(bool),
        "warmup_steps": WARMUPS,
        "decay_steps": st.integers(101, 1000),
    },
    optional={"end_value": VALUES, "exponent": POWERS},
)
CONSTANTS = [schedules.constant_schedule(value) for value in (1.0, 2.0, 3.0)]


@given(VALUES, VALUES, LENGTHS)
def test_constant(init: float, peak: float, warmup: int) -> None:
    arguments = (init, peak, warmup)
    ours, theirs = schedules.warmup_constant_schedule, optax.warmup_constant_schedule
    assert_agrees(ours(*arguments), theirs(*arguments), [warmup])


@given(CYCLES)
def test_cosine(cycle: dict[str, Any]) -> None:
    ours, theirs = schedules.warmup_cosine_decay_schedule, optax.warmup_cosine_decay_schedule
    marks = [cycle["warmup_steps"], cycle["decay_steps"]]
    assert_agrees(ours(**cycle), theirs(**cycle), marks)


def test_a_peak_of_0_has_an_end_other_than_in_optax() -> None:
    schedule = schedules.warmup_cosine_decay_schedule(1.0, 0.0, 10, 30, end_value=2.0)
    assert [schedule(step) for step in (0, 10, 20, 30)] == [1, 0, 1, 2]


@given(
    VALUES, VALUES, WARMUPS, LENGTHS, FACTORS, st.integers(0, 100), st.booleans(),
    st.none() | VALUES,
)  # fmt: skip
def test_exponential(
    init: float, peak: float, warmup: int, steps: int, rate: float, begin: int, staircase: bool,
    end: float | None,
) -> None:  # fmt: skip
    arguments = (init, peak, warmup, steps, rate, begin, staircase, end)
    ours = schedules.warmup_exponential_decay_schedule(*arguments)
    theirs = optax.warmup_exponential_decay_schedule(*arguments)
    marks = [warmup, warmup + begin, warmup + begin + steps]
    assert_agrees(ours, theirs, marks, jit=not staircase)


@given(st.lists(CYCLES, min_size=1, max_size=3))
def test_restarts(cycles: list[dict[str, Any]]) -> None:
    ends = [sum(cycle["decay_steps"] for cycle in cycles[:i]) for i in range(1, len(cycles) + 1)]
    assert_agrees(schedules.sgdr_schedule(cycles), optax.sgdr_schedule(cycles), ends)
    assert_agrees(schedules.sgdr_schedule(iter(cycles)), optax.sgdr_schedule(cycles), ends)


@given(st.sets(st.integers(0, 1000), min_size=2, max_size=2))
def test_join(boundaries: set[int]) -> None:
    joined: list[Callable[..., Any]] = []
    for library in (schedules, optax):
        parts = [
            library.linear_schedule(0.0, 1.0, 50),
            library.cosine_decay_schedule(1.0, 300),
            library.constant_schedule(0.3),
        ]
        joined.append(library.join_schedules(parts, sorted(boundaries)))
    assert_agrees(joined[0], joined[1], boundaries)


def test_a_schedule_of_the_caller_is_joined_and_starts_from_0() -> None:
    seen: list[int] = []

    def own(step: Any) -> float:
        seen.append(step)
        return 1

    schedule = schedules.join_schedules([CONSTANTS[1], own], [5])
    assert [schedule(step) for step in (4, 5, 7)] == [2, 1, 1]
    assert isinstance(schedule(5), float)
    assert seen == [0, 2, 0]


@given(st.lists(st.integers(0, 9), min_size=2, max_size=2).filter(lambda b: b[0] >= b[1]))
def test_boundaries_that_do_not_increase_are_refused(boundaries: list[int]) -> None:
    with pytest.raises(DomainError, match=r"join_schedules: boundaries are .*, expected an incr"):
        schedules.join_schedules(CONSTANTS, boundaries)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("parts", "boundaries", "error", "message"),
    [
        (
            CONSTANTS,
            [5],
            DomainError,
            "got 3 schedules and 1 boundaries, expected one schedule more",
        ),
        ([], [], DomainError, "got 0 schedules and 0 boundaries, expected one schedule more"),
        (CONSTANTS, [-1, 5], DomainError, r"boundaries\[0\] is -1, expected at least 0"),
        (CONSTANTS, [1, 5.0], DtypeError, r"boundaries\[1\] is 5.0, expected an int"),
        ([CONSTANTS[0], 0.1], [5], DtypeError, r"schedules\[1\] is 0.1, expected a function"),
        (CONSTANTS[0], [], DtypeError, "schedules is a function, expected a list or tuple"),
        (CONSTANTS, 5, DtypeError, "boundaries is a int, expected a list or tuple"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    parts: Any, boundaries: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"join_schedules: {message}"):
        schedules.join_schedules(parts, boundaries)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        ("0.1", DtypeError, "'0.1', expected a number"),
        (True, DtypeError, "True, expected a number"),
        (None, DtypeError, "None, expected a number"),
        (np.ones(2), DtypeError, r"array\(.*, expected a number"),
        (math.nan, DomainError, "nan, expected a finite number"),
    ],
)
def test_a_schedule_that_gives_no_number_is_named(
    value: Any, error: type[Exception], expected: str
) -> None:
    schedule = schedules.join_schedules([CONSTANTS[1], lambda step: value], [5])
    assert schedule(4) == 2
    with pytest.raises(error, match=rf"^join_schedules: schedules\[1\]\(2\) is {expected}"):
        schedule(7)


@given(st.floats(-1024, 1024, width=32))
def test_a_schedule_may_give_any_type_of_number(value: float) -> None:
    for given_back in (np.float32(value), np.array(value), np.array(value, np.float32)):
        schedule = schedules.join_schedules([lambda step, its=given_back: its], [])  # type: ignore[misc]
        assert schedule(0) == value
        assert type(schedule(0)) is float


CYCLE = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 10, "decay_steps": 30}


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"init_value": math.nan}, DomainError, "init_value is nan, expected a finite number"),
        ({"peak_value": None}, DtypeError, "peak_value is None, expected a number"),
        ({"end_value": math.inf}, DomainError, "end_value is inf, expected a finite number"),
        ({"exponent": 0.0}, DomainError, "exponent is 0.0, expected a finite number > 0"),
        ({"warmup_steps": -1}, DomainError, "warmup_steps is -1, expected at least 0"),
        ({"warmup_steps": 1.5}, DtypeError, "warmup_steps is 1.5, expected an int"),
        (
            {"decay_steps": 10},
            DomainError,
            "decay_steps is 10, expected more than warmup_steps, 10",
        ),
        ({"decay_steps": None}, DtypeError, "decay_steps is None, expected an int"),
    ],
)
def test_a_cycle_out_of_its_domain_is_refused(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^warmup_cosine_decay_schedule: {message}"):
        schedules.warmup_cosine_decay_schedule(**{**CYCLE, **wrong})
    with pytest.raises(error, match=rf"^sgdr_schedule: cosine_kwargs\[1\]: {message}"):
        schedules.sgdr_schedule([CYCLE, {**CYCLE, **wrong}])


@pytest.mark.usefixtures("unannotated")
def test_what_is_no_cycle_is_refused() -> None:
    with pytest.raises(DomainError, match="sgdr_schedule: cosine_kwargs is empty"):
        schedules.sgdr_schedule([])
    with pytest.raises(DtypeError, match="sgdr_schedule: cosine_kwargs is None, expected a list"):
        schedules.sgdr_schedule(None)  # type: ignore[arg-type]
    for wrong, expected in (
        (0.1, " is a float, expected a dict"),
        ({}, ": missing a required argument: 'init_value'"),
        ({**CYCLE, "power": 2}, ": got an unexpected keyword argument 'power'"),
    ):
        with pytest.raises(TreeError, match=rf"sgdr_schedule: cosine_kwargs\[1\]{expected}"):
            schedules.sgdr_schedule([CYCLE, wrong])  # type: ignore[list-item]


@given(st.integers(max_value=0))
def test_a_warm_up_without_steps_is_refused_where_nothing_follows(steps: int) -> None:
    message = f"warmup_constant_schedule: warmup_steps is {steps}, expected at least 1"
    with pytest.raises(DomainError, match=message):
        schedules.warmup_constant_schedule(0.0, 1.0, steps)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"warmup_steps": -1}, "warmup_steps is -1, expected at least 0"),
        ({"transition_steps": 0}, "transition_steps is 0, expected at least 1"),
        ({"decay_rate": 0.0}, "decay_rate is 0.0, expected a finite number > 0"),
        ({"peak_value": math.inf}, "peak_value is inf, expected a finite number"),
        ({"init_value": math.inf}, "init_value is inf, expected a finite number"),
        ({"end_value": math.nan}, "end_value is nan, expected a finite number"),
    ],
)
def test_an_exponential_out_of_its_domain_is_refused(wrong: dict[str, Any], message: str) -> None:
    arguments = {
        "init_value": 0.0, "peak_value": 1.0, "warmup_steps": 10, "transition_steps": 5,
        "decay_rate": 0.5,
    }  # fmt: skip
    with pytest.raises(DomainError, match=f"warmup_exponential_decay_schedule: {message}"):
        schedules.warmup_exponential_decay_schedule(**{**arguments, **wrong})
