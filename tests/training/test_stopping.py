"""Early stopping beside a plain search through the whole history."""

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from purenn import layers, optimizers, random, training, tree
from purenn.errors import DomainError, DtypeError
from purenn.ops.losses import squared_error
from purenn.training import early_stopping

scores = st.floats(-5, 5) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1.0])


@given(
    st.lists(scores, min_size=1, max_size=30),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from(["min", "max"]),
)
def test_the_best_is_kept(history: list[float], patience: int, delta: float, mode: Any) -> None:
    stopping = early_stopping(patience, min_delta=delta, mode=mode)
    best = stopping.init()
    at, value = -1, math.nan
    for i, score in enumerate(history):
        best = stopping.update(best, score, kept=f"state {i}")
        gain = (value - score) if mode == "min" else (score - value)
        if (at < 0 and not math.isnan(score)) or gain > delta:
            at, value = i, score
        assert (best.at, best.seen) == (at, i + 1)
        assert best.kept == (f"state {at}" if at >= 0 else None)
        assert best.stop == (i - at >= patience)
        if at >= 0:
            assert best.score == value


def test_a_copy_is_kept_where_states_are_donated() -> None:
    model, optimizer = layers.serial(out=layers.dense(1)), optimizers.sgd(0.1)
    step = training.train_step(training.objective(model, squared_error), optimizer, donate=True)
    batch = np.ones((3, 2), np.float32), np.full((3, 1), 9, np.float32)
    state = training.init_state(model, optimizer, random.key(0), (2,))
    for _ in range(2):
        state, _ = step(state, batch)
    stopping = early_stopping(1)
    best = stopping.update(stopping.init(), 0.0, tree.map(np.copy, state))
    plain = stopping.update(stopping.init(), 0.0, state)
    expected = tree.map(np.copy, state)
    for _ in range(2):
        state, _ = step(state, batch)
    tree.map(np.testing.assert_array_equal, best.kept, expected)
    assert (plain.kept.params["out"]["kernel"] != expected.params["out"]["kernel"]).all()


def test_arguments_out_of_their_domains_are_refused() -> None:
    with pytest.raises(DomainError, match="early_stopping: patience is 0, expected at least 1"):
        early_stopping(0)
    with pytest.raises(DomainError, match="early_stopping: min_delta is -1"):
        early_stopping(1, min_delta=-1)
    with pytest.raises(DtypeError, match="early_stopping: patience is True, expected an int"):
        early_stopping(True)
