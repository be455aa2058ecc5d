from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, ShapeError
from purenn.ops import losses
from purenn.typing import Array

BINARY = ["hinge_loss", "perceptron_loss"]
MULTICLASS = ["multiclass_hinge_loss", "multiclass_perceptron_loss"]
# Whole numbers tie, and stand at the kinks.
WHOLE = hnp.arrays(np.float64, (8, 4), elements=st.integers(-2, 2).map(float))


@pytest.mark.parametrize("name", BINARY + MULTICLASS)
@given(data=st.data())
def test_value_and_gradient_are_those_of_optax_also_at_kinks_and_ties(
    name: str, data: st.DataObject
) -> None:
    outputs = data.draw(WHOLE)
    if name in BINARY:
        targets: Any = data.draw(hnp.arrays(np.float64, (8, 4), elements=st.sampled_from([-1, 1])))
    else:
        targets = data.draw(hnp.arrays(np.int64, 8, elements=st.integers(0, 3)))
    y, pullback = getattr(losses, f"{name}_vjp")(outputs, targets)
    theirs = getattr(optax.losses, name)
    expected, expected_pullback = jax.vjp(lambda x: theirs(x, jnp.asarray(targets)), outputs)
    np.testing.assert_array_equal(y, expected)
    dy: Array = np.cos(np.arange(y.size, dtype=float)).reshape(y.shape)
    np.testing.assert_allclose(pullback(dy)[0], expected_pullback(dy)[0], rtol=1e-14, atol=1e-15)
    if name in MULTICLASS:
        assert pullback(dy)[1] is None


def test_the_hinge_beside_its_kink() -> None:
    step = 2.0**-52
    p, t = np.array([1 + step, 1 + step, 1.0]), np.array([1 - step, 1 - step / 2, 1.0])
    y, pullback = losses.hinge_loss_vjp(p, t)
    # (1 + s)(1 − s) = 1 − s², which rounds to 1; (1 + s)(1 − s/2) = 1 + s/2 − s²/2.
    np.testing.assert_array_equal(y, [step**2, 0, 0])
    dp, dt = pullback(np.ones(3))
    np.testing.assert_array_equal(dp, [-t[0], 0, -0.5])
    np.testing.assert_array_equal(dt, [-p[0], 0, -0.5])


def test_the_perceptron_of_numbers_whose_product_is_too_small() -> None:
    p, t = np.array([1e-200, -1e-200, 0.0]), np.array([1e-200, 1e-200, 1.0])
    y, pullback = losses.perceptron_loss_vjp(p, t)
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(pullback(np.ones(3))[0], [0, -1e-200, -0.5])


def test_an_infinite_output_on_the_right_side_costs_nothing() -> None:
    p, t = np.array([np.inf, -np.inf]), np.array([1.0, -1.0])
    for name in BINARY:
        y, pullback = getattr(losses, f"{name}_vjp")(p, t)
        np.testing.assert_array_equal(y, 0)
        np.testing.assert_array_equal(pullback(np.ones(2)), np.zeros((2, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("other", [1e-30, -1e-30, 0.0])
def test_the_multiclass_hinge_beside_its_kink(other: float, dtype: type) -> None:
    scores: Array = np.array([[other, 1.0]], dtype)
    y, pullback = losses.multiclass_hinge_loss_vjp(scores, np.array([1]))
    np.testing.assert_array_equal(y, np.maximum(scores[:, 0], 0))
    slope = float(np.heaviside(other, 0.5))
    np.testing.assert_array_equal(pullback(np.ones(1, dtype))[0], [[slope, -slope]])


def test_scores_far_above_the_margin_do_not_tie() -> None:
    scores = np.array([[1e30, np.nextafter(1e30, 0), 0.0]])
    y, pullback = losses.multiclass_hinge_loss_vjp(scores, np.array([1]))
    np.testing.assert_array_equal(y, scores[:, 0] - scores[:, 1] + 1)
    np.testing.assert_array_equal(pullback(np.ones(1))[0], [[1, -1, 0]])


@pytest.mark.parametrize("name", MULTICLASS)
def test_masked_classes_and_a_single_one(name: str) -> None:
    scores = np.array([[1.0, -np.inf, 2.0], [-np.inf, -np.inf, 2.0]])
    y, pullback = getattr(losses, f"{name}_vjp")(scores, np.array([0, 2]))
    np.testing.assert_array_equal(y, [2 if "hinge" in name else 1, 0])
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [[-1, 0, 1], [0, 0, 0]])
    y, pullback = getattr(losses, f"{name}_vjp")(np.array([[3.0]]), np.array([0]))
    np.testing.assert_array_equal([y, pullback(np.ones(1))[0][0]], 0)


@pytest.mark.parametrize("name", MULTICLASS)
def test_labels_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(DomainError, match=rf"{name}: labels\[1\] is 3, expected 0 to 2"):
        getattr(losses, name)(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ShapeError, match=rf"{name}: labels has shape \(3,\)"):
        getattr(losses, name)(np.zeros((2, 3)), np.array([0, 1, 2]))


@pytest.mark.parametrize("name", ["hinge_loss", "perceptron_loss"])
def test_infinite_outputs_do_not_warn(name: str) -> None:
    outputs, targets = np.array([np.inf, -np.inf, np.inf]), np.array([1.0, 1.0, 0.0])
    y, pullback = getattr(losses, f"{name}_vjp")(outputs, targets)
    np.testing.assert_array_equal(y, [0, np.inf, np.nan])
    np.testing.assert_array_equal(pullback(np.ones(3))[0][:2], [0, -1])
