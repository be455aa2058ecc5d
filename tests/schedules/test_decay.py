import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

import reference.schedules.decay
from purenn import schedules
from purenn.errors import DomainError, DtypeError
from tests.schedules.beside_optax import FACTORS, LENGTHS, POWERS, VALUES, assert_agrees

BEGINS = st.integers(0, 100)

DECAYS: dict[str, dict[str, Any]] = {
    "constant_schedule": {"value": 0.1},
    "polynomial_schedule": {
        "init_value": 0.1, "end_value": 0.0, "power": 2.0, "transition_steps": 10,
        "transition_begin": 0,
    },
    "linear_schedule": {
        "init_value": 0.1, "end_value": 0.0, "transition_steps": 10, "transition_begin": 0,
    },
    "exponential_decay": {
        "init_value": 0.1, "transition_steps": 10, "decay_rate": 0.5, "transition_begin": 0,
        "end_value": 0.01,
    },
    "inverse_time_decay": {
        "init_value": 0.1, "transition_steps": 10, "decay_rate": 0.5, "transition_begin": 0,
    },
    "cosine_decay_schedule": {
        "init_value": 0.1, "decay_steps": 10, "alpha": 0.1, "exponent": 1.0,
    },
}  # fmt: skip


@given(VALUES)
def test_constant(value: float) -> None:
    assert_agrees(schedules.constant_schedule(value), optax.constant_schedule(value), [10])


@given(VALUES, VALUES, POWERS, LENGTHS, BEGINS)
def test_polynomial(init: float, end: float, power: float, steps: int, begin: int) -> None:
    arguments = (init, end, power, steps, begin)
    ours, theirs = schedules.polynomial_schedule, optax.polynomial_schedule
    marks = [begin, begin + steps]
    assert_agrees(ours(*arguments), theirs(*arguments), marks, jit=power.is_integer())


@given(VALUES, VALUES, LENGTHS, BEGINS)
def test_linear(init: float, end: float, steps: int, begin: int) -> None:
    arguments = (init, end, steps, begin)
    ours, theirs = schedules.linear_schedule, optax.linear_schedule
    assert_agrees(ours(*arguments), theirs(*arguments), [begin, begin + steps])


@given(VALUES, LENGTHS, FACTORS, BEGINS, st.booleans(), st.none() | VALUES)
def test_exponential(
    init: float, steps: int, rate: float, begin: int, staircase: bool, end: float | None
) -> None:
    arguments = (init, steps, rate, begin, staircase, end)
    ours, theirs = schedules.exponential_decay, optax.exponential_decay
    marks = [begin, begin + steps, begin + 9 * steps]
    assert_agrees(ours(*arguments), theirs(*arguments), marks, jit=not staircase)


@given(VALUES, LENGTHS, st.just(0.0) | st.floats(1e-3, 1e3), BEGINS, st.booleans())
def test_inverse_time(init: float, steps: int, rate: float, begin: int, staircase: bool) -> None:
    arguments = (init, steps, rate, begin, staircase)
    ours, theirs = schedules.inverse_time_decay, reference.schedules.decay.inverse_time_decay
    marks = [begin, begin + steps, begin + 9 * steps]
    assert_agrees(ours(*arguments), theirs(*arguments), marks, jit=not staircase)


@given(VALUES, LENGTHS, VALUES, POWERS)
def test_cosine(init: float, steps: int, alpha: float, exponent: float) -> None:
    arguments = (init, steps, alpha, exponent)
    ours, theirs = schedules.cosine_decay_schedule, optax.cosine_decay_schedule
    assert_agrees(ours(*arguments), theirs(*arguments), [steps])


@given(st.sampled_from([*DECAYS]), st.integers(0, 127))
def test_a_step_has_no_dtype(name: str, step: int) -> None:
    schedule = getattr(schedules, name)(**DECAYS[name])
    for dtype in (np.int8, np.int32, np.uint64):
        assert schedule(dtype(step)) == schedule(np.array(step, dtype)) == schedule(step)


@given(st.integers(0, 10_000), st.floats(1e-4, 1), st.floats(1e-3, 0.1))
def test_the_decays_of_the_textbooks(step: int, rate: float, k: float) -> None:
    """Each as it is written there, of an epoch or a step from 0."""
    drop, period, least = 0.5, 10, rate / 100
    written = {
        rate / (1 + k * step): schedules.inverse_time_decay(rate, 1, k),
        rate * drop ** ((1 + step) // period): schedules.exponential_decay(
            rate, period, drop, transition_begin=-1, staircase=True
        ),
        rate * math.exp(-k * step): schedules.exponential_decay(rate, 1, math.exp(-k)),
        rate * (1 - step / 10_000): schedules.linear_schedule(rate, 0.0, 10_000),
        least + (rate - least) / 2 * (1 + math.cos(math.pi * step / 10_000)): (
            schedules.cosine_decay_schedule(rate, 10_000, alpha=least / rate)
        ),
    }
    for value, schedule in written.items():
        np.testing.assert_allclose(schedule(step), value, 1e-12, 1e-300)


def test_the_last_value_is_reached_and_no_stair_comes_late() -> None:
    for steps in range(1, 200):
        assert schedules.exponential_decay(0.1, steps, 0.5, staircase=True)(steps) == 0.05
        assert schedules.inverse_time_decay(0.1, steps, 1.0, staircase=True)(steps) == 0.05
        assert schedules.polynomial_schedule(0.1, 0.03, 0.5, steps)(steps) == 0.03
        assert schedules.linear_schedule(0.1, 0.0, steps)(steps) == 0
        assert schedules.cosine_decay_schedule(0.1, steps, exponent=0.5)(steps) == 0


def test_a_transition_that_began_before_the_first_step() -> None:
    for name in ("linear_schedule", "exponential_decay", "inverse_time_decay"):
        arguments = {**DECAYS[name], "transition_begin": -3}
        cut = getattr(schedules, name)(**arguments)
        whole = getattr(schedules, name)(**DECAYS[name])
        assert [cut(step) for step in range(20)] == [whole(step + 3) for step in range(20)]


def test_growth_is_bounded_by_its_end_or_refused() -> None:
    assert schedules.exponential_decay(1.0, 1, 2.0, end_value=5.0)(10_000) == 5
    assert schedules.exponential_decay(0.0, 1, 2.0)(10_000) == 0
    assert schedules.exponential_decay(1.0, 1, 0.5)(10_000) == 0
    with pytest.raises(
        DomainError, match="exponential_decay: at step 10000 it is inf, expected a finite one"
    ):
        schedules.exponential_decay(1.0, 1, 2.0)(10_000)
    with pytest.raises(DomainError, match="linear_schedule: at step 0 it is inf, expected"):
        schedules.linear_schedule(1e308, -1e308, 10)(0)
    with pytest.raises(DomainError, match=r"inverse_time_decay: at step 1000.* it is inf"):
        schedules.inverse_time_decay(1.0, 1, 1.0)(10**400)


@given(st.sampled_from([*DECAYS]), st.integers(max_value=-1))
def test_a_negative_step_is_refused(name: str, step: int) -> None:
    with pytest.raises(DomainError, match=f"{name}: step is {step}, expected at least 0"):
        getattr(schedules, name)(**DECAYS[name])(step)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("step", [1.0, np.array(1.0), True, np.array(True), None, "1"])
@pytest.mark.parametrize("name", DECAYS)
def test_what_is_no_step_is_refused(name: str, step: Any) -> None:
    with pytest.raises(DtypeError, match=rf"{name}: step is .*, expected an int"):
        getattr(schedules, name)(**DECAYS[name])(step)


def test_several_steps_are_refused() -> None:
    with pytest.raises(DtypeError, match=r"step is array\(\[1, 2\]\), expected an int"):
        schedules.constant_schedule(0.1)(np.array([1, 2]))


def steps_of(name: str) -> list[str]:
    return [argument for argument in DECAYS[name] if argument.endswith("_steps")]


@given(st.integers(max_value=0), st.data())
def test_steps_below_1_are_refused(steps: int, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in DECAYS if steps_of(name)]))
    (argument,) = steps_of(name)
    with pytest.raises(DomainError, match=f"{name}: {argument} is {steps}, expected at least 1"):
        getattr(schedules, name)(**{**DECAYS[name], argument: steps})


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_numbers_that_are_not_finite_are_refused(number: float, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*DECAYS]))
    arguments = [name for name, value in DECAYS[name].items() if isinstance(value, float)]
    argument = data.draw(st.sampled_from(arguments))
    with pytest.raises(DomainError, match=f"{name}: {argument} is {number}, expected a finite"):
        getattr(schedules, name)(**{**DECAYS[name], argument: number})


@given(st.floats(-10, 0))
def test_powers_and_rates_out_of_their_domain_are_refused(wrong: float) -> None:
    expected = f"is {wrong}, expected a finite number > 0"
    for name, argument in (
        ("polynomial_schedule", "power"),
        ("exponential_decay", "decay_rate"),
        ("cosine_decay_schedule", "exponent"),
    ):
        with pytest.raises(DomainError, match=f"{name}: {argument} {expected}"):
            getattr(schedules, name)(**{**DECAYS[name], argument: wrong})
    with pytest.raises(DomainError, match=f"decay_rate is {wrong - 1}, expected .* ≥ 0"):
        schedules.inverse_time_decay(0.1, 10, wrong - 1)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("wrong", ["1", None, True, 1j])
@pytest.mark.parametrize("name", DECAYS)
def test_what_is_no_number_is_refused(name: str, wrong: Any) -> None:
    for argument, value in DECAYS[name].items():
        if argument != "end_value" or wrong is not None:
            expected = "a number" if isinstance(value, float) else "an int"
            with pytest.raises(DtypeError, match=rf"{name}: {argument} is .*, expected {expected}"):
                getattr(schedules, name)(**{**DECAYS[name], argument: wrong})


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("wrong", ["no", None, 1])
def test_a_staircase_is_a_bool(wrong: Any) -> None:
    for name in ("exponential_decay", "inverse_time_decay"):
        with pytest.raises(DtypeError, match=f"{name}: staircase is {wrong!r}, expected a bool"):
            getattr(schedules, name)(0.1, 10, 0.5, staircase=wrong)
    with pytest.raises(DtypeError, match="warmup_exponential_decay_schedule: staircase is"):
        schedules.warmup_exponential_decay_schedule(0.0, 1.0, 5, 10, 0.5, staircase=wrong)
