from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import _standardize
from purenn.ops import normalization as ops
from purenn.typing import Array

ROWS = hnp.arrays(np.float64, (3, 4), elements=st.integers(-100, 100).map(float))
ONE, ZERO = np.ones(4), np.zeros(4)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(
    ("rule_vjp", "static", "theirs", "shape"),
    [
        (ops.layer_norm_vjp, {"epsilon": 0.1}, nn.LayerNorm, (2, 3, 5)),
        (ops.rms_norm_vjp, {"epsilon": 0.2}, nn.RMSNorm, (2, 3, 5)),
        (ops.group_norm_vjp, {"num_groups": 2}, nn.GroupNorm, (2, 3, 2, 6)),
        (ops.group_norm_vjp, {"num_groups": 3, "epsilon": 0.1}, nn.GroupNorm, (3, 6)),
        (ops.instance_norm_vjp, {"epsilon": 1e-3}, nn.InstanceNorm, (2, 3, 4, 5)),
    ],
)
def test_values_and_cotangents_are_those_of_flax(
    rule_vjp: Any, static: Any, theirs: Any, shape: tuple[int, ...]
) -> None:
    names = ("scale",) if theirs is nn.RMSNorm else ("scale", "bias")
    x, dy = numbers(*shape), numbers(*shape, seed=1)
    parameters = [numbers(shape[-1], seed=2 + i) for i in range(len(names))]
    module = theirs(**static, use_fast_variance=False, param_dtype=jnp.float64)

    def apply(x: Any, *parameters: Any) -> Any:
        return module.apply({"params": dict(zip(names, parameters, strict=True))}, x)

    @jax.jit
    def both() -> Any:
        y, pullback = jax.vjp(apply, x, *parameters)
        return y, pullback(dy)

    expected, theirs_of_dy = both()
    y, pullback = rule_vjp(x, *parameters, **static)
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-13)
    for ours, other in zip(pullback(dy), theirs_of_dy, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-12, atol=1e-12)


def test_one_group_is_layer_norm_and_a_group_per_channel_instance_norm() -> None:
    scale, bias = numbers(6, seed=1), numbers(6, seed=2)
    x = numbers(4, 6)
    np.testing.assert_allclose(
        ops.group_norm(x, scale, bias, num_groups=1), ops.layer_norm(x, scale, bias), rtol=1e-14
    )
    x = numbers(2, 3, 5, 6)
    np.testing.assert_allclose(
        ops.group_norm(x, scale, bias, num_groups=6),
        ops.instance_norm(x, scale, bias),
        rtol=1e-13,
        atol=1e-15,
    )


@given(x=ROWS, shift=st.integers(-1000, 1000), power=st.sampled_from([-1000, -600, -3, 510, 900]))
def test_layer_norm_does_not_see_a_constant_or_a_factor(x: Array, shift: int, power: int) -> None:
    """A power of two not even in the last bit, also where x² overflows or underflows."""
    y, pullback = ops.layer_norm_vjp(x, ONE, ZERO, epsilon=0.0)
    moved, _ = ops.layer_norm_vjp(x + shift, ONE, ZERO, epsilon=0.0)
    np.testing.assert_allclose(moved, y, rtol=1e-13, atol=1e-14)
    scaled, scaled_pullback = ops.layer_norm_vjp(np.ldexp(x, power), ONE, ZERO, epsilon=0.0)
    np.testing.assert_array_equal(scaled, y)
    dx, scaled_dx = pullback(y + 1)[0], scaled_pullback(y + 1)[0]
    np.testing.assert_allclose(np.ldexp(scaled_dx, power), dx, rtol=1e-13, atol=1e-16)


@given(x=ROWS, dy=ROWS)
def test_dx_is_orthogonal_to_what_changes_nothing(x: Array, dy: Array) -> None:
    dx = ops.layer_norm_vjp(x, ONE, ZERO, epsilon=0.0)[1](dy)[0]
    np.testing.assert_allclose(np.sum(dx, axis=-1), 0, atol=1e-12)
    np.testing.assert_allclose(np.sum(dx * x, axis=-1), 0, atol=1e-9)
    dx = ops.rms_norm_vjp(x, ONE, epsilon=0.0)[1](dy)[0]
    np.testing.assert_allclose(np.sum(dx * x, axis=-1), 0, atol=1e-9)


def test_the_mean_may_be_large_against_the_deviation() -> None:
    x = (30000 + numbers(1, 64)).astype(np.float32)
    one, zero, dy = np.ones(64, np.float32), np.zeros(64, np.float32), numbers(1, 64, seed=1)
    y, pullback = ops.layer_norm_vjp(x, one, zero)
    d = x.astype(np.float64) - np.mean(x, dtype=np.float64)
    sigma = np.sqrt(np.mean(d**2) + 1e-6)
    np.testing.assert_allclose(y, d / sigma, rtol=1e-6)
    dy = dy.astype(np.float32).astype(np.float64)
    dx = (dy - np.mean(dy) - d / sigma * np.mean(dy * d / sigma)) / sigma
    np.testing.assert_allclose(pullback(dy.astype(np.float32))[0], dx, rtol=1e-6, atol=1e-7)
    theirs = np.asarray(nn.LayerNorm().apply({"params": {"scale": one, "bias": zero}}, x))
    assert np.max(np.abs(theirs - d / sigma)) > 0.1  # of E[x²] − E[x]² little is left


@pytest.mark.parametrize("size", [1e30, 1e-30, 3e38])
def test_float32_neither_overflows_nor_underflows(size: float) -> None:
    x = np.array([[1, -1, 1, -1]], np.float32) * np.float32(size)
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    y = ops.layer_norm(x, one, zero)
    np.testing.assert_allclose(y, np.sign(x) * (1 if size > 1 else 1e-27), rtol=1e-6)
    np.testing.assert_allclose(ops.rms_norm(x, one), y, rtol=1e-6)


@pytest.mark.parametrize("row", [[1.2, -1.2, 0], [1.7, -1.7, -1.7], [1.7, 1.6, 1.5]])
def test_float64_reaches_to_the_end_of_its_range(row: list[float]) -> None:
    x, one, zero = np.array([row, [1.0, 2.0, 4.0]]), np.ones(3), np.zeros(3)
    far = x * [[1e308], [1.0]]
    rules: Any = [(ops.layer_norm_vjp, (one, zero)), (ops.rms_norm_vjp, (one,))]
    for rule_vjp, parameters in rules:
        near, near_pullback = rule_vjp(x, *parameters, epsilon=0.0)
        y, pullback = rule_vjp(far, *parameters, epsilon=0.0)
        np.testing.assert_allclose(y, near, rtol=1e-14, atol=2e-15)
        dy = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        for ours, expected in zip(pullback(dy)[1:], near_pullback(dy)[1:], strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-14, atol=2e-15)
        np.testing.assert_allclose(pullback(dy)[0][1], near_pullback(dy)[0][1], rtol=1e-13)
        assert np.all(np.abs(pullback(dy)[0][0]) < 1e-307)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
def test_equal_numbers_become_the_bias(dtype: Any, epsilon: float) -> None:
    x = np.full((2, 7), 0.1, dtype)
    scale, bias = np.arange(7).astype(dtype), np.linspace(-1, 1, 7).astype(dtype)
    y, pullback = ops.layer_norm_vjp(x, scale, bias, epsilon=epsilon)
    np.testing.assert_array_equal(y, np.stack([bias, bias]))
    dx, dscale, dbias = pullback(np.ones((2, 7), dtype))
    np.testing.assert_allclose(dx, (0 if epsilon == 0 else 1e3) * (scale - 3 + 0 * x), rtol=1e-3)
    np.testing.assert_array_equal(dscale, np.zeros(7))
    np.testing.assert_array_equal(dbias, np.full(7, 2))
    np.testing.assert_array_equal(ops.rms_norm(0 * x, scale, epsilon=epsilon), 0 * x)


def test_where_one_number_outweighs_the_others_its_own_terms_cancel() -> None:
    x, dy = np.array([[1e8, 1.0]]), np.array([[1.0, 0.0]])
    dx = ops.rms_norm_vjp(x, np.ones(2), epsilon=0.0)[1](dy)[0]
    square = 1e16 + 1
    expected = np.array([[1 / square, -1e8 / square]]) / np.sqrt(square / 2)
    np.testing.assert_allclose(dx, expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_over_two_numbers_only_epsilon_lets_anything_through(dtype: Any) -> None:
    dy, one, zero = np.array([[3, 1]], dtype), np.ones(2, dtype), np.zeros(2, dtype)
    for x, sigma_squared in (([5, 1], 4 + 1e-6), ([2e7, 0], 1e14 + 1e-6)):
        dx = ops.layer_norm_vjp(np.array([x], dtype), one, zero)[1](dy)[0]
        np.testing.assert_allclose(dx, [[s * 1e-6 / sigma_squared**1.5 for s in (1, -1)]], 1e-6)
    dx = ops.rms_norm_vjp(np.array([[1e7]], dtype), one[:1])[1](dy[:, 1:])[0]
    np.testing.assert_allclose(dx, 1e-6 / (1e14 + 1e-6) ** 1.5, 1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, dy, scale, bias = numbers(7, 5, 6), numbers(7, 5, 6, seed=1), numbers(6), numbers(6, seed=2)
    for dtype in (np.float32, np.float64):
        arguments = [a.astype(dtype) for a in (x, scale, bias)]
        whole, pullback = ops.group_norm_vjp(*arguments, num_groups=2)
        cotangents = pullback(dy.astype(dtype))
        monkeypatch.setattr(_standardize, "_BLOCK", 60)  # two examples
        parts, pullback = ops.group_norm_vjp(*arguments, num_groups=2)
        tolerance = 4 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(parts, whole, rtol=tolerance, atol=tolerance)
        for ours, expected in zip(pullback(dy.astype(dtype)), cotangents, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=10 * tolerance)
        monkeypatch.undo()


def test_nothing_to_normalize() -> None:
    for shape in ((0, 4), (3, 0), (0, 2, 4), (2, 0, 4)):
        x = np.ones(shape)
        parameters = np.ones(shape[-1]), np.zeros(shape[-1])
        rules: Any = [
            (ops.layer_norm_vjp, {}),
            (ops.instance_norm_vjp, {}),
            (ops.group_norm_vjp, {"num_groups": 2}),
        ]
        for rule_vjp, static in rules:
            y, pullback = rule_vjp(x, *parameters, **static)
            dx, dscale, dbias = pullback(x)
            assert y.shape == dx.shape == shape
            np.testing.assert_array_equal(dscale, 0 * parameters[0])
            np.testing.assert_array_equal(dbias, 0 * parameters[0])


def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((2, 3, 6))
    parameters = np.ones(6), np.zeros(6)
    with pytest.raises(ShapeError, match="group_norm: num_groups is 4, expected a divisor of 6"):
        ops.group_norm(x, *parameters, num_groups=4)
    with pytest.raises(DomainError, match="group_norm: num_groups is 0, expected at least 1"):
        ops.group_norm_vjp(x, *parameters, num_groups=0)
    with pytest.raises(DtypeError, match="group_norm: num_groups is True, expected an int"):
        ops.group_norm(x, *parameters, num_groups=True)
    with pytest.raises(DomainError, match=r"layer_norm: epsilon is -1e-06, expected a finite"):
        ops.layer_norm(x, *parameters, epsilon=-1e-6)
    with pytest.raises(DomainError, match="rms_norm: epsilon is nan"):
        ops.rms_norm_vjp(x, parameters[0], epsilon=float("nan"))
    with pytest.raises(ShapeError, match=r"instance_norm: scale has shape \(3,\).*channels = 6"):
        ops.instance_norm(x, np.ones(3), parameters[1])
    with pytest.raises(ShapeError, match=r"instance_norm: x has shape \(6,\)"):
        ops.instance_norm(np.ones(6), *parameters)
