from typing import Any

import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops.normalization import max_norm, max_norm_vjp
from purenn.typing import Array

KERNELS = hnp.arrays(np.float64, (3, 2), elements=st.integers(-4, 4).map(float))


@given(kernel=KERNELS, c=st.sampled_from([0.5, 2.0, 3.0]))
def test_units_beyond_it_are_on_the_sphere_and_others_as_they_were(kernel: Array, c: float) -> None:
    y = max_norm(kernel, max_value=c)
    for before, after in zip(kernel.T, y.T, strict=True):
        if np.linalg.norm(before) <= c:
            np.testing.assert_array_equal(after, before)
        else:
            np.testing.assert_allclose(np.linalg.norm(after), c, rtol=1e-15)
        np.testing.assert_allclose(after, optax.projections.projection_l2_ball(before, c))
    np.testing.assert_allclose(max_norm(y, max_value=c), y, rtol=1e-15)


@given(kernel=KERNELS, dy=KERNELS)
def test_nothing_gets_through_along_the_weights(kernel: Array, dy: Array) -> None:
    (dkernel,) = max_norm_vjp(kernel, max_value=2.0)[1](dy)
    outside = np.linalg.norm(kernel, axis=0) > 2
    along = np.sum(dkernel * kernel, axis=0)
    np.testing.assert_allclose(along[outside], 0, atol=1e-13)
    np.testing.assert_array_equal(dkernel[:, ~outside], dy[:, ~outside])


def test_the_incoming_weights_of_a_channel_or_those_along_axis() -> None:
    kernel = np.ones((3, 3, 2, 5))  # HWIO
    np.testing.assert_allclose(max_norm(kernel, max_value=1.0), 18**-0.5 * kernel)
    np.testing.assert_allclose(max_norm(kernel, max_value=1.0, axis=-1), 5**-0.5 * kernel)
    np.testing.assert_allclose(max_norm(kernel, max_value=1.0, axis=(0, 3)), 15**-0.5 * kernel)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_no_square_leaves_the_range(size: float) -> None:
    kernel = np.array([[3.0], [4.0]]) * size
    np.testing.assert_allclose(max_norm(kernel, max_value=size), [[0.6 * size], [0.8 * size]])
    dkernel = max_norm_vjp(kernel, max_value=size)[1](np.array([[1.0], [0.0]]))[0]
    np.testing.assert_allclose(dkernel, [[0.2 * 0.64], [-0.2 * 0.48]])


def test_where_one_weight_outweighs_the_others_its_own_terms_cancel() -> None:
    (dkernel,) = max_norm_vjp(np.array([[1e8], [1.0]]), max_value=1.0)[1](np.array([[1.0], [0.0]]))
    square = 1e16 + 1
    np.testing.assert_allclose(dkernel, np.array([[1], [-1e8]]) / square**1.5, rtol=1e-15)


def test_no_weights_and_none_but_zeros() -> None:
    for kernel in (np.zeros((3, 2)), np.ones((0, 2)), np.ones((2, 0)), np.ones((2, 0, 3))):
        y, pullback = max_norm_vjp(kernel)
        np.testing.assert_array_equal(y, kernel)
        np.testing.assert_array_equal(pullback(kernel + 1)[0], kernel + 1)


def test_an_infinite_weight_leaves_nothing_of_the_others() -> None:
    kernel = np.array([[np.inf, 3.0], [1.0, 4.0]])
    y, pullback = max_norm_vjp(kernel, max_value=1.0)
    np.testing.assert_allclose(y, [[np.nan, 0.6], [0, 0.8]])
    np.testing.assert_allclose(pullback(np.ones((2, 2)))[0][:, 1], [0.2 * 0.16, -0.2 * 0.12])


@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(DomainError, match=r"max_norm: max_value is 0\.0, expected a finite"):
        max_norm(np.ones((2, 2)), max_value=0.0)
    nothing: Any = None
    with pytest.raises(DtypeError, match="max_norm: max_value is None, expected a number"):
        max_norm(np.ones((2, 2)), max_value=nothing)
    with pytest.raises(ShapeError, match=r"max_norm: axis is 2, but kernel has shape \(2, 2\)"):
        max_norm_vjp(np.ones((2, 2)), axis=2)
    with pytest.raises(ShapeError, match=r"max_norm: kernel has shape \(\)"):
        max_norm(np.ones(()))
