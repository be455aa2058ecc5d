import math
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference.ops.normalization.local_response as reference
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops.normalization import local_response_norm, local_response_norm_vjp
from purenn.typing import Array


def as_onnx_defines_it(x: Array, size: int, alpha: float, beta: float, bias: float) -> Array:
    """The operator's text: from c − ⌊(size − 1)/2⌋ to c + ⌈(size − 1)/2⌉, within the channels."""
    y = np.empty_like(x)
    for c in range(x.shape[-1]):
        low = max(0, c - math.floor((size - 1) / 2))
        high = min(x.shape[-1] - 1, c + math.ceil((size - 1) / 2))
        square_sum = np.sum(x[..., low : high + 1] ** 2, axis=-1)
        y[..., c] = x[..., c] / (bias + alpha / size * square_sum) ** beta
    return y


@given(
    size=st.integers(1, 9),
    channels=st.integers(1, 6),
    alpha=st.sampled_from([1e-4, 0.5, 3.0]),
    beta=st.sampled_from([0.5, 0.75, 1.0]),
    bias=st.sampled_from([1.0, 2.0]),
)
def test_values_are_those_of_onnx(
    size: int, channels: int, alpha: float, beta: float, bias: float
) -> None:
    x = np.random.default_rng(size).normal(size=(2, 3, channels))
    y = local_response_norm(x, size=size, alpha=alpha, beta=beta, k=bias)
    np.testing.assert_allclose(y, as_onnx_defines_it(x, size, alpha, beta, bias), rtol=1e-14)


@pytest.mark.parametrize("size", [2, 4, 5])
def test_the_way_back_is_through_the_mirrored_window(size: int) -> None:
    x, dy = np.random.default_rng(size).normal(size=(2, 2, 6))
    static: Any = {"size": size, "alpha": 0.5, "k": 2.0}
    _, theirs = jax.vjp(lambda x: reference.local_response_norm(x, **static), x)
    dx = local_response_norm_vjp(x, **static)[1](dy)[0]
    np.testing.assert_allclose(dx, theirs(dy)[0], rtol=1e-12, atol=1e-14)


def test_alpha_is_divided_by_size_or_not() -> None:
    """Of 5 ones each: PyTorch 1/(1 + α)^β; Krizhevsky, with k = 2, 1/(2 + 5α)^β."""
    x = np.ones((1, 9))
    y = local_response_norm(x, alpha=0.1)
    np.testing.assert_allclose(y[0, 2:7], 1.1**-0.75, rtol=1e-15)
    y = local_response_norm(x, alpha=0.1, k=2.0, divide_by_size=False)
    np.testing.assert_allclose(y[0, 2:7], 2.5**-0.75, rtol=1e-15)
    np.testing.assert_allclose(y[0, [0, 1, 8]], [2.3**-0.75, 2.4**-0.75, 2.3**-0.75], rtol=1e-15)


def test_a_large_channel_keeps_its_derivative() -> None:
    """β = ½, one channel: y = x/√(k + αx²) and y′ = k/(k + αx²)^1.5: what is left, not 0."""
    x = np.array([[1e-30], [1.0], [1e10], [1e30]])
    dx = local_response_norm_vjp(x, size=1, alpha=1.0, beta=0.5)[1](np.ones_like(x))[0]
    np.testing.assert_allclose(dx, (1 + x**2) ** -1.5, rtol=1e-14)


@pytest.mark.parametrize("beta", [0.25, 0.5, 0.75])
def test_squares_beyond_float64(beta: float) -> None:
    """b = k + αs is αs then, of the degree 2 in x: y has degree 1 − 2β and dx −2β."""
    x, dy = np.array([[3.0, -2.0, 0.5, 1e-3], [1e5, 2.0, 1.0, 3.0]]), np.ones((2, 4))
    static: Any = {"size": 3, "alpha": 0.5, "beta": beta}
    y, pullback = local_response_norm_vjp(np.ldexp(x, 530), **static)
    small, small_pullback = local_response_norm_vjp(np.ldexp(x, 100), **static)
    by = int(430 * 2 * beta)
    np.testing.assert_allclose(np.ldexp(y, by - 430), small, rtol=1e-14)
    np.testing.assert_allclose(np.ldexp(pullback(dy)[0], by), small_pullback(dy)[0], rtol=1e-13)
    np.testing.assert_array_equal(local_response_norm(np.ldexp(x, 530), **static), y)
    mixed = np.array([[1e200, 1.0, 1.0, 1.0, 1.0]])
    y, pullback = local_response_norm_vjp(mixed, **static)
    alone, alone_pullback = local_response_norm_vjp(mixed[:, 1:], **static)
    np.testing.assert_allclose(y[:, 2:], alone[:, 1:], rtol=1e-14)
    dx, alone_dx = pullback(mixed**0)[0], alone_pullback(dy[:1])[0]
    np.testing.assert_allclose(dx[:, 3:], alone_dx[:, 2:], rtol=1e-14)


def test_infinities_are_not_warned_of() -> None:
    y, pullback = local_response_norm_vjp(np.array([[np.inf, 1.0, 2.0, 3.0]]), size=3)
    np.testing.assert_array_equal(y[0, :2], [np.nan, 0])
    assert np.isfinite(pullback(np.ones((1, 4)))[0][0, 3])


def test_empty_and_scalar_batches() -> None:
    for shape in ((0, 3), (2, 0), (3,)):
        y, pullback = local_response_norm_vjp(np.ones(shape))
        assert y.shape == pullback(y)[0].shape == shape


def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((2, 3))
    with pytest.raises(DomainError, match="local_response_norm: size is 0, expected at least 1"):
        local_response_norm(x, size=0)
    rule_vjp: Any = local_response_norm_vjp
    for option in ("alpha", "beta", "k"):
        with pytest.raises(DomainError, match=f"{option} is nan, expected a finite number"):
            rule_vjp(x, **{option: math.nan})
    with pytest.raises(DtypeError, match="size is True, expected an int"):
        local_response_norm(x, size=True)
    with pytest.raises(DomainError, match=r"alpha is -1\.0, expected a finite number ≥ 0"):
        local_response_norm(x, alpha=-1.0)
    with pytest.raises(DomainError, match=r"k is 0\.0, expected a finite number > 0"):
        local_response_norm_vjp(x, k=0.0)
    with pytest.raises(ShapeError, match=r"local_response_norm: x has shape \(\)"):
        local_response_norm(np.ones(()))
