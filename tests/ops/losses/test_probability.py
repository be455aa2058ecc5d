import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError
from purenn.ops import activations, losses
from purenn.typing import Array

PROBABILITIES = hnp.arrays(np.float64, (4, 3), elements=st.floats(0, 1))


def test_the_example_of_neural_networks_from_scratch() -> None:
    """Three classes, three examples: the losses, and the gradient of their mean."""
    p = np.array([[0.7, 0.1, 0.2], [0.1, 0.5, 0.4], [0.02, 0.9, 0.08]])
    q = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    y, pullback = losses.categorical_cross_entropy_vjp(p, q)
    np.testing.assert_allclose(y, [0.35667494, 0.69314718, 0.10536052], rtol=1e-7)
    np.testing.assert_allclose(y.mean(), 0.38506088, rtol=1e-7)
    np.testing.assert_allclose(pullback(np.full(3, 1 / 3))[0], -q / p / 3)


@given(p=PROBABILITIES, q=PROBABILITIES)
def test_values_are_those_of_the_clipped_formula(p: Array, q: Array) -> None:
    clipped = np.clip(p, 1e-7, 1 - 1e-7)
    expected = -np.sum(q * np.log(clipped), axis=-1)
    np.testing.assert_allclose(losses.categorical_cross_entropy(p, q), expected, rtol=1e-8)
    expected = -q * np.log(clipped) - (1 - q) * np.log(1 - clipped)
    np.testing.assert_allclose(losses.binary_cross_entropy(p, q), expected, rtol=1e-8, atol=1e-15)


@given(logits=hnp.arrays(np.float64, (4, 3), elements=st.floats(-7, 7)), q=PROBABILITIES)
def test_after_sigmoid_and_softmax_they_are_the_losses_of_logits(logits: Array, q: Array) -> None:
    dy = np.cos(np.arange(12.0)).reshape(4, 3)
    p, through = activations.sigmoid_vjp(logits)
    y, pullback = losses.binary_cross_entropy_vjp(p, q)
    expected, joint = losses.sigmoid_binary_cross_entropy_vjp(logits, q)
    np.testing.assert_allclose(y, expected, rtol=1e-11)
    np.testing.assert_allclose(through(pullback(dy)[0])[0], joint(dy)[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pullback(dy)[1], joint(dy)[1], rtol=1e-9, atol=1e-12)
    q = (q + 0.1) / np.sum(q + 0.1, axis=-1, keepdims=True)
    p, through = activations.softmax_vjp(logits)
    y, pullback = losses.categorical_cross_entropy_vjp(p, q)
    expected, joint = losses.softmax_cross_entropy_vjp(logits, q)
    np.testing.assert_allclose(y, expected, rtol=1e-11)
    dy = dy[:, 0]
    np.testing.assert_allclose(through(pullback(dy)[0])[0], joint(dy)[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pullback(dy)[1], joint(dy)[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_beyond_the_clip_the_worst_mistake_costs_log_eps_and_teaches_nothing(dtype: type) -> None:
    p: Array = np.array([0, 1], dtype)
    y, pullback = losses.binary_cross_entropy_vjp(p, np.array([1, 0], dtype))
    assert y.dtype == dtype
    spacing = {2: 2.0**-7, 4: 2.0**-23, 8: 2.0**-52}[p.itemsize]
    np.testing.assert_allclose(y.astype(np.float64), -np.log(1e-7), rtol=spacing)
    dp, dq = pullback(np.ones(2, dtype))
    np.testing.assert_array_equal(dp, 0)
    np.testing.assert_allclose(
        dq.astype(np.float64), np.log(1e7 - 1) * np.array([1, -1]), rtol=spacing
    )
    y, pullback = losses.categorical_cross_entropy_vjp(p[None], np.array([[1, 0]], dtype))
    np.testing.assert_allclose(y.astype(np.float64), -np.log(1e-7), rtol=spacing)
    np.testing.assert_array_equal(pullback(y)[0], 0)


def test_at_the_ends_of_the_clip_half_of_the_derivative_passes() -> None:
    p, q = np.array([0.125, 0.25, 0.375, 0.625, 0.75, 0.875]), np.full(6, 0.5)
    passed = np.array([0, 0.5, 1, 1, 0.5, 0])
    _, pullback = losses.binary_cross_entropy_vjp(p, q, eps=0.25)
    np.testing.assert_array_equal(pullback(np.ones(6))[0], passed * (p - q) / (p * (1 - p)))
    _, pullback = losses.categorical_cross_entropy_vjp(p, q, eps=0.25)
    np.testing.assert_array_equal(pullback(np.ones(()))[0], -passed * q / p)


def test_the_cotangent_of_labels_is_of_the_clipped_probability() -> None:
    p = np.array([0.27, 0.73, 0.5, 0.4])
    _, pullback = losses.binary_cross_entropy_vjp(p, np.ones(4), eps=0.3)
    expected = [-np.log(3 / 7), np.log(3 / 7), 0, np.log(1.5)]
    np.testing.assert_allclose(pullback(np.ones(4))[1], expected, rtol=1e-15)


@pytest.mark.parametrize("eps", [1e-50, 1e-310])
def test_eps_may_be_out_of_the_range_of_the_dtype(eps: float) -> None:
    p, q = np.array([0, 1], np.float16), np.array([1, 0], np.float16)
    for name in ("binary_cross_entropy", "categorical_cross_entropy"):
        y, pullback = getattr(losses, f"{name}_vjp")(p, q, eps=eps)
        np.testing.assert_allclose(y, -np.log(eps), rtol=1e-3)
        np.testing.assert_array_equal(pullback(np.ones_like(y))[0], 0)


def test_around_a_half_and_around_the_label_nothing_cancels() -> None:
    t = 2.0**-50
    _, pullback = losses.binary_cross_entropy_vjp(np.array([0.5 + t]), np.array([0.5]))
    dp, dq = pullback(np.ones(1))
    np.testing.assert_allclose(dp, 4 * t, rtol=1e-15)
    np.testing.assert_allclose(dq, -4 * t, rtol=1e-15)
    small = np.array([1e-6, 3e-4])
    y = losses.binary_cross_entropy(small, np.zeros(2))
    np.testing.assert_allclose(y, -np.log1p(-small), rtol=1e-15)


def test_empty_batches() -> None:
    nothing = np.ones((0, 3))
    y, pullback = losses.categorical_cross_entropy_vjp(nothing, nothing)
    assert y.shape == (0,)
    assert [dx.shape for dx in pullback(y)] == [(0, 3)] * 2
    assert losses.binary_cross_entropy(nothing, nothing).shape == (0, 3)


@pytest.mark.parametrize("name", ["categorical_cross_entropy", "binary_cross_entropy"])
def test_what_does_not_fit_is_refused_by_name(name: str) -> None:
    p = np.full((1, 2), 0.5)
    for rule in (getattr(losses, name), getattr(losses, f"{name}_vjp")):
        for eps in (0.0, 0.5, -1.0, float("nan")):
            with pytest.raises(DomainError, match=rf"{name}: eps is {eps}, expected a finite"):
                rule(p, p, eps=eps)
        with pytest.raises(DomainError, match=r"probabilities\[0, 1\] is 1.5, expected ≥ 0 and ≤"):
            rule(np.array([[0, 1.5]]), p)
