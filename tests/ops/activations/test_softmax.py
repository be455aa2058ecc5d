import inspect
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import activations
from purenn.ops._axes import axes_of
from purenn.typing import Array

DISTRIBUTIONS = ["softmax", "log_softmax", "sparsemax"]
ROWS = hnp.arrays(np.float64, (4, 3), elements=st.floats(-3, 3))


@pytest.mark.parametrize("axis", [None, (2, 0)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "standardize", "logsumexp"])
def test_along_several_axes_as_jax(name: str, axis: Any) -> None:
    x, dy = np.random.default_rng(0).normal(size=(2, 2, 3, 4)) * 5
    expected, their_pullback = jax.vjp(partial(getattr(jax.nn, name), axis=axis), x)
    y, pullback = getattr(activations, f"{name}_vjp")(x, axis=axis)
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)
    dy = np.resize(dy, y.shape)
    np.testing.assert_allclose(pullback(dy)[0], their_pullback(dy)[0], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, -3, (0, 2), (2, 0), (-1, 1), (0, 1, 2), ()], ids=str)
@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "standardize", "logsumexp"])
def test_any_axes_are_as_good_as_the_last(name: str, axis: Any) -> None:
    x, dy = np.random.default_rng(0).normal(size=(2, 2, 3, 4))
    f, f_vjp = getattr(activations, name), getattr(activations, f"{name}_vjp")
    axes = axis if isinstance(axis, tuple) else (axis,)
    last = tuple(range(-len(axes), 0))

    def rows(a: Array) -> Array:
        moved = np.moveaxis(a, axes, last)
        return moved.reshape(*moved.shape[: 3 - len(axes)], -1)

    y, pullback = f_vjp(x, axis=axis)
    y_last, pullback_last = f_vjp(rows(x), axis=-1)
    np.testing.assert_array_equal(f(x, axis=axis), y)
    if name == "logsumexp":
        dx = pullback_last(y)[0]
        dy = y
    else:
        dx = pullback_last(rows(dy))[0]
        y = rows(y)
    np.testing.assert_allclose(y, y_last, rtol=1e-13)
    np.testing.assert_allclose(rows(pullback(dy)[0]), dx, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("axis", "shape"), [(None, (1, 1, 1)), (1, (2, 1, 4)), ((0, -1), (1, 3, 1))], ids=str
)
def test_logsumexp_keeps_the_axes_if_told_to(axis: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    y, pullback = activations.logsumexp_vjp(x, axis=axis, keepdims=True)
    assert y.shape == shape
    y_without, pullback_without = activations.logsumexp_vjp(x, axis=axis)
    np.testing.assert_array_equal(y.ravel(), y_without.ravel())
    np.testing.assert_array_equal(pullback(y)[0], pullback_without(y_without)[0])


def test_logsumexp_of_nothing_of_one_and_of_infinities() -> None:
    for x, expected in (
        (np.zeros((2, 0)), [-np.inf] * 2),
        (np.array([[3.0], [-1e30]]), [3, -1e30]),
        (np.array([[np.inf, 0.0], [-np.inf, 2.0], [-np.inf, -np.inf]]), [np.inf, 2, -np.inf]),
    ):
        np.testing.assert_array_equal(activations.logsumexp(x, axis=-1), expected)
        np.testing.assert_array_equal(jax.nn.logsumexp(x, axis=-1), expected)
    y, pullback = activations.logsumexp_vjp(np.array(2.5))
    assert (y, *pullback(np.array(3.0))) == (2.5, 3)


def test_the_pullback_of_logsumexp_is_softmax_where_the_value_is_large() -> None:
    x = np.array([700.3, 699.1, 698.7])
    _, pullback = activations.logsumexp_vjp(x)
    exact = activations.softmax(x - 699.1 + 0.25)  # all exact
    np.testing.assert_allclose(pullback(np.ones(()))[0], exact, rtol=1e-15)
    assert np.max(np.abs(np.exp(x - activations.logsumexp(x)) / exact - 1)) > 1e-14


def test_published_examples_of_sparsemax() -> None:
    np.testing.assert_allclose(activations.sparsemax(np.array([1, 0.1])), [0.95, 0.05], rtol=1e-15)
    np.testing.assert_array_equal(activations.sparsemax(np.array([3.0, 2, 1])), [1, 0, 0])


@given(t=st.floats(-3, 3))
def test_sparsemax_of_two_is_a_clipped_line(t: float) -> None:
    p = activations.sparsemax(np.array([t, 0]))
    np.testing.assert_allclose(p, [np.clip((1 + t) / 2, 0, 1), np.clip((1 - t) / 2, 0, 1)])


@given(x=ROWS, axis=st.sampled_from([0, -1, None]))
def test_sparsemax_is_the_nearest_distribution(x: Array, axis: Any) -> None:
    p = activations.sparsemax(x, axis=axis)
    np.testing.assert_allclose(p.sum(axis), 1, rtol=1e-14)
    assert np.all(p >= 0)
    # The conditions of Karush, Kuhn and Tucker: p = x − τ where p > 0, and τ ≥ x elsewhere.
    tau = np.max(x - p, axis, keepdims=True)
    np.testing.assert_allclose((x - p)[p > 0], np.broadcast_to(tau, x.shape)[p > 0], atol=1e-14)
    assert np.all(tau >= np.where(p > 0, -np.inf, x) - 1e-14)


@given(x=ROWS)
def test_sparsemax_is_that_of_optax(x: Array) -> None:
    for row in x:
        expected = optax.projections.projection_simplex(jnp.asarray(row))
        np.testing.assert_allclose(activations.sparsemax(row), expected, atol=1e-14)


def test_the_jacobian_of_sparsemax() -> None:
    x = np.array([0.4, -3.0, 0.1, 0.3])
    _, pullback = activations.sparsemax_vjp(np.tile(x, (4, 1)))
    s = np.array([1.0, 0, 1, 1])
    jacobian = pullback(np.eye(4))[0]
    np.testing.assert_allclose(jacobian, np.diag(s) - np.outer(s, s) / 3, atol=1e-16)


def test_at_the_kink_sparsemax_does_not_count_the_entry() -> None:
    for x in ([1.0, 0.0, 0.0], [2.0, -1.0, 1.0], [0.5, -0.25, 0.25]):
        y, pullback = activations.sparsemax_vjp(np.array(x))
        support = y > 0
        assert not support.all()
        dy = np.array([1.0, -2.0, 0.5])
        expected = np.where(support, dy - dy[support].mean(), 0)
        np.testing.assert_allclose(pullback(dy)[0], expected, rtol=1e-15)
        _, jax_pullback = jax.vjp(optax.projections.projection_simplex, jnp.asarray(x))
        np.testing.assert_allclose(pullback(dy)[0], jax_pullback(dy)[0], rtol=1e-15)


def test_what_only_just_counts_in_sparsemax_keeps_its_digits() -> None:
    np.testing.assert_array_equal(activations.sparsemax(np.array([1, 1e-20])), [1, 5e-21])
    x = np.array([2.0, 1.0 + 2.0**-40])
    np.testing.assert_array_equal(activations.sparsemax(x)[1], 2.0**-41)


def test_masked_and_huge_entries_of_sparsemax() -> None:
    x = np.array([[-np.inf, 0.25, 0.25], [1e30, -1e30, 0], [1e-30, 0, -1]])
    y = activations.sparsemax(x)
    np.testing.assert_array_equal(y, [[0, 0.5, 0.5], [1, 0, 0], [0.5, 0.5, 0]])


def test_standardize_keeps_the_digits_that_the_mean_of_squares_loses() -> None:
    x = np.array([10001.0, 10002, 10003, 10006], np.float32)
    exact = np.array([-2, -1, 0, 3]) / np.sqrt(3.5 + 1e-5)
    np.testing.assert_allclose(activations.standardize(x), exact, rtol=1e-7)
    assert np.max(np.abs(jax.nn.standardize(jnp.asarray(x)) - exact)) > 0.01


@given(x=hnp.arrays(np.float64, (3, 4), elements=st.integers(-9, 9)), shift=st.floats(-9, 9))
def test_standardize_has_mean_0_and_variance_below_1(x: Array, shift: float) -> None:
    y, pullback = activations.standardize_vjp(x + shift)
    variance = np.var(x, axis=-1)
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-13)
    np.testing.assert_allclose(y.var(-1), variance / (variance + 1e-5), atol=1e-12)
    # What is constant drops out of dy, and what goes back is orthogonal to it.
    (dx,) = pullback(np.cos(x))
    np.testing.assert_allclose(pullback(np.cos(x) + 3)[0], dx, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(dx.sum(-1), 0, atol=1e-9)


def test_equal_numbers_are_standardized_to_0() -> None:
    for epsilon in (1e-5, 0.0):
        y, pullback = activations.standardize_vjp(np.full((2, 3), 0.1), epsilon=epsilon)
        np.testing.assert_array_equal(y, 0)
        assert np.all(np.isfinite(pullback(np.eye(2, 3))[0]))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_over_nothing_is_refused(name: str) -> None:
    with pytest.raises(ShapeError, match=r"\(3, 0\), expected an entry along axis -1"):
        getattr(activations, name)(np.ones((3, 0)))
    with pytest.raises(ShapeError, match=rf"{name}: x has shape \(0, 3\).* along axis None"):
        getattr(activations, f"{name}_vjp")(np.ones((0, 3)), axis=None)


@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "logsumexp", "standardize"])
def test_what_is_no_axis_is_refused(name: str) -> None:
    for rule in (getattr(activations, name), getattr(activations, f"{name}_vjp")):
        with pytest.raises(ShapeError, match=rf"{name}: axis is 2, but x has shape \(3, 4\)"):
            rule(np.ones((3, 4)), axis=2)
        with pytest.raises(ShapeError, match=r"axis is \(0, -2\), which names an axis of x twice"):
            rule(np.ones((3, 4)), axis=(0, -2))


def test_what_is_no_setting_is_refused() -> None:
    with pytest.raises(DtypeError, match=r"f: axis is 1.0, expected an int, a tuple of ints or"):
        inspect.unwrap(axes_of)("f", np.ones(3), 1.0)
    with pytest.raises(DomainError, match=r"standardize: epsilon is -0.1"):
        activations.standardize(np.ones(3), epsilon=-0.1)
    with pytest.raises(DtypeError, match=r"standardize: epsilon is True, expected a number"):
        activations.standardize(np.ones(3), epsilon=True)


def test_beside_an_infinite_entry_the_gradient_of_logsumexp_is_0_as_in_jax() -> None:
    x = np.array([np.inf, 0.0, -np.inf])
    _, pullback = activations.logsumexp_vjp(x)
    np.testing.assert_array_equal(pullback(np.ones(()))[0], [np.nan, 0, 0])
    np.testing.assert_array_equal(jax.grad(jax.nn.logsumexp)(x), [np.nan, 0, 0])


@pytest.mark.parametrize("axis", [0, 1, (0, 2), None])
def test_the_layout_does_not_matter_to_standardize(axis: Any) -> None:
    x, dy = np.random.default_rng(0).normal(size=(2, 7, 33, 5))
    y, pullback = activations.standardize_vjp(x, axis=axis)
    y_too, pullback_too = activations.standardize_vjp(np.asfortranarray(x), axis=axis)
    np.testing.assert_array_equal(y_too, y)
    np.testing.assert_array_equal(pullback_too(np.asfortranarray(dy))[0], pullback(dy)[0])


@pytest.mark.parametrize("name", [*DISTRIBUTIONS, "logsumexp", "standardize"])
def test_overflow_on_the_way_back_is_silent(name: str) -> None:
    x = np.array([[1e300, -1e300, 3.0], [0.0, 1.0, 2.0]])
    y, pullback = getattr(activations, f"{name}_vjp")(x, axis=-1)
    pullback(np.resize([1.7e308, -1.7e308, 1.7e308], y.shape))
