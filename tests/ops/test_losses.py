import jax
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference.ops.losses
from purenn import verify
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import losses
from purenn.typing import Array
from purenn.verify import Rule, balls, judge, oracles, truths
from purenn.verify.examples import Example

RULES = verify.discover(losses, against=reference.ops.losses)
BY_NAME = {rule.name: rule for rule in RULES}
LOGITS = hnp.arrays(np.float64, (4, 3), elements=st.floats(-30, 30))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_against_the_truth_and_jax(rule: Rule, device: jax.Device) -> None:
    verify.check(rule, devices=[device])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["softmax_cross_entropy_with_integer_labels", "sigmoid_binary_cross_entropy"]
)
def test_every_entry_within_8_ulp_for_hard_labels(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for scale in (1, 12, 100):
        logits = (rng.normal(size=(25, 4)) * scale).astype(dtype)
        labels = rng.integers(0, 4, 25)
        if name == "sigmoid_binary_cross_entropy":
            labels = rng.integers(0, 2, (25, 4)).astype(dtype)
        y, pullback = BY_NAME[name].f_vjp(logits, labels)
        dy: Array = rng.normal(size=y.shape).astype(dtype)
        example = Example(("logits", "labels"), (logits, labels), (), (dy,), dtype)
        reference = BY_NAME[name].reference
        assert reference is not None
        truth = truths.truth(oracles.Oracle(reference, "exact"), example)
        for ours, exact in ((y, truth.value[0]), (pullback(dy)[0], truth.cotangents[0])):
            assert exact is not None
            size = np.abs(balls.nearest(exact))
            assert np.max(judge.errors(ours, exact, size)) <= 8


def test_a_saturated_label_still_trains() -> None:
    logits = np.array([[40.0, 0.0]], np.float32)
    _, pullback = losses.softmax_cross_entropy_with_integer_labels_vjp(logits, np.array([0]))
    (dlogits, _) = pullback(np.ones(1, np.float32))
    np.testing.assert_allclose(dlogits, [[-np.exp(-40), np.exp(-40)]], rtol=1e-6)


@given(logits=LOGITS, labels=hnp.arrays(np.int64, 4, elements=st.integers(0, 2)))
def test_the_integer_form_is_the_dense_form_with_one_hot_labels(
    logits: Array, labels: Array
) -> None:
    y, pullback = losses.softmax_cross_entropy_with_integer_labels_vjp(logits, labels)
    y_dense, dense_pullback = losses.softmax_cross_entropy_vjp(logits, np.eye(3)[labels])
    np.testing.assert_allclose(y, y_dense, rtol=1e-14, atol=1e-300)
    dy = np.array([1.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(pullback(dy)[0], dense_pullback(dy)[0], rtol=1e-12, atol=1e-300)
    assert pullback(dy)[1] is None


@given(logits=LOGITS, targets=hnp.arrays(np.float64, (4, 3), elements=st.floats(0, 1)))
def test_values_are_those_of_optax(logits: Array, targets: Array) -> None:
    q = (targets + 0.1) / np.sum(targets + 0.1, axis=-1, keepdims=True)
    labels = np.argmax(targets, axis=-1)
    for name, ours, theirs in (
        ("softmax_cross_entropy", q, q),
        ("softmax_cross_entropy_with_integer_labels", labels, labels),
        ("sigmoid_binary_cross_entropy", targets, targets),
        ("squared_error", targets, targets),
    ):
        expected = getattr(optax.losses, name)(logits, theirs)
        np.testing.assert_allclose(
            getattr(losses, name)(logits, ours), expected, rtol=1e-9, atol=1e-13
        )


def test_masked_classes_cost_nothing() -> None:
    logits = np.array([[1.0, -np.inf, 2.0]])
    y, pullback = losses.softmax_cross_entropy_with_integer_labels_vjp(logits, np.array([2]))
    np.testing.assert_allclose(y, np.log1p(np.exp(-1)))
    np.testing.assert_allclose(pullback(np.ones(1))[0], [[0.26894142, 0, -0.26894142]], rtol=1e-7)


def test_what_does_not_fit_is_refused_by_name() -> None:
    logits = np.zeros((3, 5))
    integer = losses.softmax_cross_entropy_with_integer_labels
    with pytest.raises(DomainError, match=r"labels\[1\] is 5, expected 0 to 4 \(classes − 1\)"):
        integer(logits, np.array([0, 5, 1]))
    with pytest.raises(DomainError, match=r"labels\[2\] is -1"):
        integer(logits, np.array([0, 1, -1]))
    with pytest.raises(DtypeError, match="labels has dtype float64, expected an integer dtype"):
        integer(logits, np.array([0.0, 1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"labels has shape \(3, 1\).* with batch = \(3,\)"):
        integer(logits, np.zeros((3, 1), int))
    with pytest.raises(ShapeError, match=r"labels has shape \(3,\)"):
        losses.softmax_cross_entropy(logits, np.zeros(3))
    binary = losses.sigmoid_binary_cross_entropy
    with pytest.raises(DomainError, match=r"labels\[0, 1\] is 2.0, expected ≥ 0 and ≤ 1"):
        binary(np.zeros((1, 2)), np.array([[1.0, 2.0]]))
    with pytest.raises(DomainError, match=r"labels\[0\] is nan"):
        binary(np.zeros(1), np.array([np.nan]))
    with pytest.raises(DtypeError, match="logits has dtype int64, expected a floating dtype"):
        binary(np.zeros(2, np.int64), np.zeros(2))
