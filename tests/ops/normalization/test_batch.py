from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn.errors import DomainError, ShapeError
from purenn.ops import _standardize
from purenn.ops import normalization as ops
from purenn.ops.normalization.batch import _batch_norm_in_training
from purenn.typing import Array


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 2, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_values_and_cotangents_are_those_of_flax(shape: tuple[int, ...], training: bool) -> None:
    x, dy = numbers(*shape), numbers(*shape, seed=1)
    scale, bias, mean = (numbers(shape[-1], seed=2 + i) for i in range(3))
    var = np.exp(numbers(shape[-1], seed=5))
    module = nn.BatchNorm(
        use_running_average=not training,
        epsilon=0.01,
        use_fast_variance=False,
        param_dtype=jnp.float64,
        force_float32_reductions=False,
    )

    def apply(x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
        variables = {"params": {"scale": scale, "bias": bias}}
        variables["batch_stats"] = {"mean": mean, "var": var}
        return module.apply(variables, x, mutable=["batch_stats"] if training else False)

    rest = () if training else (mean, var)
    rule_vjp: Any = ops.batch_norm_vjp if training else ops.batch_norm_inference_vjp
    y, pullback = rule_vjp(x, scale, bias, *rest, epsilon=0.01)

    @jax.jit
    def both() -> Any:
        vjp: Any = jax.vjp
        y, pullback, *_ = vjp(apply, x, scale, bias, mean, var, has_aux=training)
        return y, pullback(dy)

    expected, theirs = both()
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    for ours, other in zip(pullback(dy), theirs, strict=False):
        np.testing.assert_allclose(ours, other, rtol=1e-11, atol=1e-12)


def test_inference_with_the_statistics_of_the_batch_is_training() -> None:
    x, scale, bias = numbers(5, 2, 3) + 7, numbers(3, seed=1), numbers(3, seed=2)
    y, _, mean, var = _batch_norm_in_training(x, scale, bias, 1e-5)
    np.testing.assert_allclose(mean, np.mean(x, axis=(0, 1)), rtol=1e-14)
    np.testing.assert_allclose(var, np.var(x, axis=(0, 1)), rtol=1e-13)
    np.testing.assert_array_equal(y, ops.batch_norm(x, scale, bias))
    np.testing.assert_allclose(
        ops.batch_norm_inference(x, scale, bias, mean, var), y, rtol=1e-12, atol=1e-13
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_batch_of_many_blocks(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, dy = numbers(50, 7, 3).astype(dtype) + 3, numbers(50, 7, 3, seed=1).astype(dtype)
    scale, bias = numbers(3, seed=2).astype(dtype), numbers(3, seed=3).astype(dtype)
    y, pullback = ops.batch_norm_vjp(x, scale, bias)
    cotangents = pullback(dy)
    monkeypatch.setattr(_standardize, "_BLOCK", 48)
    in_blocks, pullback = ops.batch_norm_vjp(x, scale, bias)
    tolerance = 8 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(in_blocks, y, rtol=tolerance, atol=tolerance)
    for ours, expected in zip(pullback(dy), cotangents, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance * 10)


def test_the_mean_may_be_large_against_the_deviation() -> None:
    x = (30000 + numbers(64, 2)).astype(np.float32)
    scale, bias = np.array([3, -2], np.float32), np.zeros(2, np.float32)
    y, pullback = ops.batch_norm_vjp(x, scale, bias)
    exact, exact_pullback = ops.batch_norm_vjp(*(a.astype(np.float64) for a in (x, scale, bias)))
    np.testing.assert_allclose(y, exact, rtol=1e-7)
    dy = numbers(64, 2, seed=1).astype(np.float32)
    dx, exact_dx = pullback(dy)[0], exact_pullback(dy.astype(np.float64))[0]
    np.testing.assert_allclose(dx, exact_dx, rtol=1e-7)


def test_a_single_example_is_its_own_mean() -> None:
    x, bias = numbers(1, 3), np.array([1.0, 2.0, 3.0])
    y, pullback = ops.batch_norm_vjp(x, np.ones(3), bias)
    np.testing.assert_array_equal(y, [bias])
    dx, dscale, dbias = pullback(np.ones((1, 3)))
    np.testing.assert_array_equal([dx[0], dscale, dbias], [np.zeros(3), np.zeros(3), np.ones(3)])


@pytest.mark.parametrize("shape", [(0, 3), (0, 2, 2, 3), (2, 0, 3), (2, 0)])
def test_an_empty_batch_stays_empty(shape: tuple[int, ...]) -> None:
    x, one = np.ones(shape), np.ones(shape[-1])
    y, pullback = ops.batch_norm_vjp(x, one, one)
    dx, dscale, dbias = pullback(x)
    assert y.shape == dx.shape == shape
    np.testing.assert_array_equal([dscale, dbias], np.zeros((2, shape[-1])))
    y, pullback = ops.batch_norm_inference_vjp(x, one, one, one, one)
    assert y.shape == shape
    np.testing.assert_array_equal(pullback(x)[1:], np.zeros((4, shape[-1])))


def test_what_does_not_fit_is_refused_by_name() -> None:
    x, one = np.ones((2, 3)), np.ones(3)
    with pytest.raises(DomainError, match=r"batch_norm: epsilon is -1\.0, expected a finite"):
        ops.batch_norm(x, one, one, epsilon=-1.0)
    with pytest.raises(DomainError, match=r"batch_norm_inference: var\[1\] is -1.0, expected ≥ 0"):
        ops.batch_norm_inference(x, one, one, one, np.array([1.0, -1.0, 1.0]))
    with pytest.raises(ShapeError, match=r"batch_norm: x has shape \(3,\).*\(batch, \*spatial, c"):
        ops.batch_norm(one, one, one)
    with pytest.raises(ShapeError, match=r"batch_norm_inference: mean has shape \(2,\)"):
        ops.batch_norm_inference(x, one, one, np.ones(2), one)
