import math
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from hypothesis import given

import reference.schedules.validation as reference
from purenn import tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.schedules import ValidationSchedule, opennmt_decay, reduce_on_plateau

# Multiples of ¼, so that differences are exact and ties are frequent.
FINITE = st.integers(1, 16).map(lambda n: n / 4)
SCORES = st.lists(
    FINITE | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=20, max_size=20
)
MODES = ["default", "epoch_only", "score_only"]
OPENNMT = st.fixed_dictionaries(
    {
        "init_value": st.floats(1e-3, 10),
        "decay": st.floats(0.1, 1),
        "start_epoch": st.integers(1, 20),
        "mode": st.sampled_from(MODES),
        "min_delta": st.sampled_from([0.0, 0.25, 1.0]),
        "lower_is_better": st.booleans(),
    }
)
PLATEAU = st.fixed_dictionaries(
    {
        "factor": st.floats(0.1, 0.9),
        "patience": st.integers(1, 4),
        "rtol": st.sampled_from([1e-4, 0.25]),
        "atol": st.sampled_from([0.0, 0.25]),
        "cooldown": st.integers(0, 3),
        "min_scale": st.sampled_from([0.0, 0.3]),
    }
)


def rates(schedule: ValidationSchedule, scores: Any) -> list[float]:
    """The rate after each epoch; no state is written to."""
    found, state = [], schedule.init()
    for score in scores:
        for leaf in tree.leaves(state):
            leaf.setflags(write=False)
        state, rate = schedule.update(state, score)
        assert type(rate) is float
        tree.check_like("state", state, schedule.init())
        found.append(rate)
    return found


@given(SCORES, OPENNMT)
def test_opennmt_is_the_reference(scores: list[float], arguments: dict[str, Any]) -> None:
    expected = reference.opennmt_decay(jnp.array(scores), **arguments)
    np.testing.assert_allclose(rates(opennmt_decay(**arguments), scores), expected, 1e-12)


@pytest.mark.parametrize(
    ("mode", "decays"),
    [("default", [0, 1, 2, 3, 4, 5]), ("epoch_only", [0, 0, 0, 0, 1, 2]),
     ("score_only", [0, 1, 1, 2, 2, 2])],
)  # fmt: skip
def test_the_modes_of_opennmt(mode: str, decays: list[int]) -> None:
    """Worse in epochs 2 and 4, unchanged in epoch 5; the last two are late."""
    scores = [10.0, 11.0, 9.0, 9.5, 9.5, 8.0]
    expected = [0.7**n for n in decays]
    assert rates(opennmt_decay(1.0, start_epoch=5, mode=mode), scores) == expected
    negated = opennmt_decay(1.0, start_epoch=5, mode=mode, lower_is_better=False)
    assert rates(negated, [-score for score in scores]) == expected


def test_opennmt_by_default_decays_from_epoch_9_on() -> None:
    improving = np.linspace(10, 1, 11)
    assert rates(opennmt_decay(1.0), improving) == [1.0] * 8 + [0.7, 0.7**2, 0.7**3]


@given(SCORES, PLATEAU, st.integers(1, 3))
def test_a_plateau_is_that_of_optax(scores: list[float], arguments: dict[str, Any], n: int) -> None:
    ours = reduce_on_plateau(0.5, **arguments, accumulation_size=n)
    theirs = optax.contrib.reduce_on_plateau(**arguments, accumulation_size=n)
    state, their_state = ours.init(), theirs.init(jnp.zeros(()))
    assert state._fields == their_state._fields

    @jax.jit
    def run(scores: jax.Array) -> Any:
        def epoch(state: Any, score: jax.Array) -> Any:
            updates, state = theirs.update(jnp.ones(()), state, value=score)
            return state, (state, updates)

        return jax.lax.scan(epoch, their_state, scores)[1]

    their_states, scales = jax.tree.map(np.asarray, run(jnp.array(scores)))
    for i, score in enumerate(scores):
        state, rate = ours.update(state, score)
        np.testing.assert_allclose(rate, 0.5 * scales[i], 1e-12)
        for leaf, their_leaves in zip(state, their_states, strict=True):
            assert leaf.dtype == their_leaves.dtype
            np.testing.assert_allclose(leaf, their_leaves[i], 1e-12)


@given(SCORES, PLATEAU)
def test_a_plateau_of_scores_that_should_rise(
    scores: list[float], arguments: dict[str, Any]
) -> None:
    expected = reference.reduce_on_plateau(jnp.array(scores), 0.5, **arguments)
    schedule = reduce_on_plateau(0.5, **arguments, lower_is_better=False)
    np.testing.assert_allclose(rates(schedule, scores), expected, 1e-12)


def test_without_tolerances_any_improvement_is_one() -> None:
    schedule = reduce_on_plateau(1.0, 0.5, patience=1, rtol=0.0)
    assert rates(schedule, [1.0, np.nextafter(1, 0), np.nextafter(1, 0)]) == [1, 1, 0.5]


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 9), st.integers(0, 9))
def test_a_plateau_goes_on_with_smaller_settings(
    patience: int, size: int, bad: int, count: int
) -> None:
    """More than is asked for is enough."""
    schedule = reduce_on_plateau(1.0, 0.5, patience=patience, accumulation_size=size)
    state = schedule.init()._replace(best_value=np.array(1.0), avg_value=np.array(2.0))
    state = state._replace(plateau_count=np.int32(bad), count=np.int32(count))
    state = tree.map(np.asarray, state)
    for _ in range(max(1, size - count) + size * max(0, patience - bad - 1)):
        assert state.scale == 1
        state, rate = schedule.update(state, 2.0)
    assert rate == 0.5


@pytest.mark.parametrize(
    ("make", "field"),
    [(make, field) for make in (opennmt_decay, reduce_on_plateau)
     for field, leaf in make(0.1).init()._asdict().items() if leaf.dtype == np.int32],
)  # fmt: skip
@given(st.integers(-(2**31), -1))
def test_counts_below_0_are_refused(make: Any, field: str, count: int) -> None:
    state = make(0.1).init()._replace(**{field: np.array(count, np.int32)})
    message = f"{make.__name__}: state.{field} is {count}, expected at least 0"
    with pytest.raises(DomainError, match=message):
        make(0.1).update(state, 1.0)


@pytest.mark.parametrize("make", [opennmt_decay, reduce_on_plateau])
def test_a_score_has_no_dtype(make: Any) -> None:
    scores = [1, 2, 3, 3, 2, 5, 8, 7, 9, 9, 9, 9, 9]
    expected = rates(make(0.1), scores)
    assert expected[-1] < 0.1
    for dtype in (np.float16, np.float32, np.int64):
        assert rates(make(0.1), np.array(scores, dtype)) == expected
        assert rates(make(0.1), [np.array(score, dtype) for score in scores]) == expected


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("score", ["1", None, True, 1j, np.ones(1), np.array(True)])
@pytest.mark.parametrize("make", [opennmt_decay, reduce_on_plateau])
def test_what_is_no_score_is_refused(make: Any, score: Any) -> None:
    schedule = make(0.1)
    with pytest.raises(DtypeError, match=rf"{make.__name__}: score is .*, expected a number"):
        schedule.update(schedule.init(), score)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("make", "other"), [(opennmt_decay, reduce_on_plateau), (reduce_on_plateau, opennmt_decay)]
)
def test_a_state_of_another_kind_is_refused(make: Any, other: Any) -> None:
    schedule, state = make(0.1), make(0.1).init()
    with pytest.raises(TreeError, match=rf"{make.__name__}: state: trees differ at the root"):
        schedule.update(other(0.1).init(), 1.0)
    with pytest.raises(ShapeError, match=rf"{make.__name__}: state\[.* has shape \(1,\)"):
        schedule.update(tree.map(np.atleast_1d, state), 1.0)
    with pytest.raises(DtypeError, match=rf"{make.__name__}: state\[.* has dtype float32"):
        schedule.update(tree.map(lambda leaf: leaf.astype(np.float32), state), 1.0)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"init_value": math.inf}, DomainError, "init_value is inf, expected a finite number"),
        ({"decay": 0.0}, DomainError, "decay is 0.0, expected a finite number > 0 and ≤ 1"),
        ({"decay": 1.1}, DomainError, "decay is 1.1, expected a finite number > 0 and ≤ 1"),
        ({"start_epoch": 0}, DomainError, "start_epoch is 0, expected at least 1"),
        ({"start_epoch": 1.0}, DtypeError, "start_epoch is 1.0, expected an int"),
        ({"mode": "score"}, DomainError, "mode is 'score', expected 'default', 'epoch_only' or"),
        ({"min_delta": -1.0}, DomainError, "min_delta is -1.0, expected a finite number ≥ 0"),
        ({"lower_is_better": "no"}, DtypeError, "lower_is_better is 'no', expected a bool"),
    ],
)
def test_opennmt_out_of_its_domain_is_refused(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"opennmt_decay: {message}"):
        opennmt_decay(**{"init_value": 1.0, **wrong})


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"init_value": "1"}, DtypeError, "init_value is '1', expected a number"),
        ({"factor": 1.0}, DomainError, "factor is 1.0, expected a finite number > 0 and < 1"),
        ({"factor": 0.0}, DomainError, "factor is 0.0, expected a finite number > 0 and < 1"),
        ({"patience": 0}, DomainError, "patience is 0, expected at least 1"),
        ({"patience": 2.0}, DtypeError, "patience is 2.0, expected an int"),
        ({"rtol": 1.0}, DomainError, "rtol is 1.0, expected a finite number ≥ 0 and < 1"),
        ({"atol": -1.0}, DomainError, "atol is -1.0, expected a finite number ≥ 0"),
        ({"cooldown": -1}, DomainError, "cooldown is -1, expected at least 0"),
        ({"accumulation_size": 0}, DomainError, "accumulation_size is 0, expected at least 1"),
        ({"lower_is_better": 0}, DtypeError, "lower_is_better is 0, expected a bool"),
        ({"min_scale": 1.1}, DomainError, "min_scale is 1.1, expected a finite number ≥ 0 and ≤ 1"),
    ],
)
def test_a_plateau_out_of_its_domain_is_refused(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"reduce_on_plateau: {message}"):
        reduce_on_plateau(**{"init_value": 1.0, **wrong})
