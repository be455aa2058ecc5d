import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import activations, losses
from purenn.typing import Array

SCORES = hnp.arrays(np.float64, (4, 3), elements=st.floats(-3, 3))
LABELS = hnp.arrays(np.int64, 4, elements=st.integers(0, 2))


@given(scores=SCORES, labels=LABELS)
def test_values_are_those_of_optax_and_of_the_paper(scores: Array, labels: Array) -> None:
    y = losses.multiclass_sparsemax_loss(scores, labels)
    expected = optax.losses.multiclass_sparsemax_loss(scores, labels)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
    p = activations.sparsemax(scores)
    tau = np.max(scores - p, axis=-1, keepdims=True)
    inside = np.sum(np.where(p > 0, scores**2 - tau**2, 0), axis=-1) / 2
    paper = inside - scores[np.arange(4), labels] + 0.5
    np.testing.assert_allclose(y, paper, rtol=1e-12, atol=1e-13)


@given(scores=SCORES, labels=LABELS)
def test_the_gradient_is_p_minus_q(scores: Array, labels: Array) -> None:
    _, pullback = losses.multiclass_sparsemax_loss_vjp(scores, labels)
    dscores, nothing = pullback(np.array([1.0, -2.0, 0.5, 3.0]))
    expected = activations.sparsemax(scores) - np.eye(3)[labels]
    np.testing.assert_allclose(dscores, expected * [[1], [-2], [0.5], [3]], atol=1e-14)
    assert nothing is None


def test_a_margin_of_1_costs_nothing_and_half_an_ulp_less_does() -> None:
    scores = np.array([[2.0, 1.0, -4.0], [2.0, 1.0 + 2.0**-30, -4.0]])
    y, pullback = losses.multiclass_sparsemax_loss_vjp(scores, np.array([0, 0]))
    # With two in the support, p = (1 + d)/2 and (1 − d)/2 for scores that differ by d.
    np.testing.assert_array_equal(y, [0, 2.0**-62])
    expected = [[0, 0, 0], [-(2.0**-31), 2.0**-31, 0]]
    np.testing.assert_array_equal(pullback(np.ones(2))[0], expected)


def test_a_hopeless_label_costs_what_it_is_behind() -> None:
    scores = np.array([[5.0, 0.0, -1e30], [0.0, 1e30, -np.inf]])
    y, pullback = losses.multiclass_sparsemax_loss_vjp(scores, np.array([1, 0]))
    np.testing.assert_array_equal(y, [5 + 0.5 - 0.5, 1e30])
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [[1, -1, 0], [-1, 1, 0]])


@given(
    logits=hnp.arrays(np.float64, 8, elements=st.floats(-3, 3)),
    labels=hnp.arrays(np.int64, 8, elements=st.integers(0, 1)),
)
def test_the_binary_loss_is_that_of_optax_and_of_two_classes(logits: Array, labels: Array) -> None:
    y, pullback = losses.sparsemax_loss_vjp(logits, labels)
    np.testing.assert_array_equal(losses.sparsemax_loss(logits, labels), y)
    np.testing.assert_allclose(y, optax.losses.sparsemax_loss(logits, labels), rtol=1e-13)
    scores = np.stack([np.zeros(8), logits], axis=-1)
    both, both_pullback = losses.multiclass_sparsemax_loss_vjp(scores, labels)
    np.testing.assert_allclose(y, both, rtol=1e-12, atol=1e-15)
    dlogits, nothing = pullback(logits)
    np.testing.assert_allclose(dlogits, both_pullback(logits)[0][:, 1], rtol=1e-12, atol=1e-15)
    assert nothing is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_are_kept_and_batches_may_be_empty(dtype: type) -> None:
    y, pullback = losses.sparsemax_loss_vjp(np.zeros(0, dtype), np.zeros(0, int))
    assert y.dtype == pullback(y)[0].dtype == dtype
    y, pullback = losses.multiclass_sparsemax_loss_vjp(np.zeros((0, 3), dtype), np.zeros(0, int))
    assert y.dtype == pullback(y)[0].dtype == dtype
    assert pullback(y)[0].shape == (0, 3)


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(DomainError, match=r"sparsemax_loss: labels\[1\] is 2, expected ≥ 0 and"):
        losses.sparsemax_loss(np.zeros(2), np.array([0, 2]))
    with pytest.raises(DtypeError, match="sparsemax_loss: labels has dtype float64, expected an"):
        losses.sparsemax_loss(np.zeros(2), np.zeros(2))
    with pytest.raises(DomainError, match=r"labels\[0\] is 3, expected 0 to 2 \(classes − 1\)"):
        losses.multiclass_sparsemax_loss(np.zeros((1, 3)), np.array([3]))
    with pytest.raises(ShapeError, match=r"multiclass_sparsemax_loss: scores has shape \(0, 0\)"):
        losses.multiclass_sparsemax_loss(np.zeros((0, 0)), np.zeros(0, int))
