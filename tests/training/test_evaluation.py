"""Scores do not depend on how the examples are cut into batches, and are scikit-learn's."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import accuracy_score, r2_score

from purenn import random
from purenn.errors import DomainError, ShapeError, TreeError
from purenn.layers import batch_norm, dense, dropout, relu, serial
from purenn.ops import losses
from purenn.optimizers import sgd
from purenn.training import accuracy, batches, evaluate, init_state, labels, predict

MODEL = serial(hidden=dense(5), norm=batch_norm(), act=relu, drop=dropout(0.5), out=dense(3))
STATE = init_state(MODEL, sgd(0.1), random.key(0), (4,), np.float64)
LOSS = losses.softmax_cross_entropy_with_integer_labels


@given(st.integers(1, 30), st.integers(1, 12), st.booleans(), st.integers(0, 2**32))
def test_however_it_is_cut(count: int, size: int, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs, labels = rng.normal(size=(count, 4)), rng.integers(0, 3, count)
    weights = rng.uniform(0.1, 1, count)
    arrays = (inputs, labels, weights) if weighted else (inputs, labels)
    outputs = predict(MODEL, STATE, batches(None, arrays, size))
    expected = MODEL.forward(STATE.params, STATE.state, inputs)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-14)
    scores = evaluate(MODEL, LOSS, STATE, batches(None, arrays, size), {"accuracy": accuracy})
    mean = np.average(LOSS(expected, labels), weights=weights if weighted else None)
    np.testing.assert_allclose(scores["loss"], mean, rtol=1e-12)
    assert scores["accuracy"] == accuracy_score(labels, expected.argmax(axis=1))


def test_a_loss_with_several_elements_per_example() -> None:
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(7, 4)), rng.normal(size=(7, 3))
    scores = evaluate(
        MODEL, losses.squared_error, STATE, batches(None, (inputs, targets), 3), {"r2": r2_score}
    )
    outputs = MODEL.forward(STATE.params, STATE.state, inputs)
    np.testing.assert_allclose(scores["loss"], np.mean((outputs - targets) ** 2), rtol=1e-12)
    np.testing.assert_allclose(scores["r2"], r2_score(targets, outputs), rtol=1e-12)


def test_accuracy_of_labels_one_hot_and_one_logit() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    assert accuracy(np.array([1, 0, 0]), logits) == pytest.approx(2 / 3)
    assert accuracy(np.eye(2)[[1, 0, 0]], logits) == pytest.approx(2 / 3)
    assert accuracy(np.array([1, 0, 0]), logits[:, :1] - 1.5) == pytest.approx(1 / 3)
    assert accuracy(np.array([[0.0], [1.0], [0.0]]), logits[:, :1] - 1.5) == 1


@given(st.integers(1, 20), st.integers(1, 4), st.integers(0, 2**32))
def test_the_same_labels_in_every_form_have_the_same_accuracy(
    count: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(count, width))
    said = labels(outputs)
    assert said.dtype == np.int64
    expected = outputs[:, 0] > 0 if width == 1 else outputs.argmax(axis=1)
    np.testing.assert_array_equal(said, expected)
    truth = rng.integers(0, max(2, width), count)
    hot = truth[:, None].astype(float) if width == 1 else np.eye(width)[truth]
    forms = [truth, hot, 2 * hot - 1, *([2 * truth - 1] if width == 1 else [])]
    for form in forms:
        assert accuracy(form, outputs) == np.mean(said == truth)


def test_nothing_has_no_score() -> None:
    with pytest.raises(DomainError, match="evaluate: no batches"):
        evaluate(MODEL, LOSS, STATE, [])
    with pytest.raises(DomainError, match="predict: no batches"):
        predict(MODEL, STATE, [])


def test_outputs_that_are_nan_are_wrong() -> None:
    outputs = np.array([[np.nan, 1.0], [2.0, 1.0], [1.0, np.nan]])
    for truth in (np.array([0, 0, 1]), np.array([1, 0, 0])):
        assert accuracy(truth, outputs) == pytest.approx(1 / 3)
    assert accuracy(np.array([0, 0]), np.array([[np.nan], [-1.0]])) == 0.5


@pytest.mark.parametrize(
    ("targets", "outputs", "message"),
    [
        (np.zeros(2, int), np.ones((3, 2)), "targets has shape"),
        (np.zeros((3, 1), int), np.ones((3, 2)), "targets has shape"),
        (np.zeros(3, int), np.ones(3), "outputs has shape"),
        (np.zeros(0, int), np.ones((0, 2)), "outputs has shape"),
    ],
)
def test_what_has_no_accuracy_is_refused(targets: Any, outputs: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"accuracy: {message}"):
        accuracy(targets, outputs)


X, Y = np.ones((2, 4)), np.array([0, 1])


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((X,), TreeError, "a batch is no tuple of 2 or 3 arrays"),
        ((X, Y, np.array([1.0, -1.0])), DomainError, r"weights\[1\] is -1.0, expected a finite"),
        ((X, Y, np.array([np.nan, 1.0])), DomainError, r"weights\[0\] is nan"),
        ((X, Y, np.array([np.inf, 1.0])), DomainError, r"weights\[0\] is inf"),
        ((X, Y, np.ones(3)), ShapeError, r"weights has shape \(3,\), expected \(2,\)"),
        ((X, Y, np.zeros(2)), DomainError, "no batches, or none of weight"),
    ],
)
def test_a_batch_that_cannot_be_scored_is_refused(
    batch: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"evaluate: {message}"):
        evaluate(MODEL, LOSS, STATE, [batch])


def test_what_is_no_loss_of_examples_or_hides_it_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"evaluate: the loss has shape \(\), expected 2 exam"):
        evaluate(MODEL, losses.ntxent, STATE, [(X, Y)])
    with pytest.raises(DomainError, match="evaluate: metrics has 'loss'"):
        evaluate(MODEL, LOSS, STATE, [(X, Y)], {"loss": accuracy})
