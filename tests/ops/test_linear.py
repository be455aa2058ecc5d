import jax
import numpy as np
import pytest

import reference.ops.linear
from purenn import verify
from purenn.errors import DtypeError, ShapeError
from purenn.ops import linear
from purenn.verify import Rule

RULES = verify.discover(linear, against=reference.ops.linear)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_against_the_truth_and_jax(rule: Rule, device: jax.Device) -> None:
    verify.check(rule, devices=[device])


def test_large_products_are_as_near_to_float64_as_those_of_jax(device: jax.Device) -> None:
    rng = np.random.default_rng(0)
    x, kernel, bias = (rng.normal(size=s).astype(np.float32) for s in ((64, 300), (300, 50), 50))
    dy = rng.normal(size=(64, 50)).astype(np.float32)
    _, pullback = linear.dense_vjp(x, kernel, bias)
    _, exact = linear.dense_vjp(*(a.astype(np.float64) for a in (x, kernel, bias)))
    with jax.default_device(device):
        _, theirs = jax.vjp(reference.ops.linear.dense, x, kernel, bias)
        rivals = theirs(dy)
    for ours, true, rival in zip(pullback(dy), exact(dy.astype(np.float64)), rivals, strict=True):
        # Sums of 64 to 300 products: rounding adds up like a random walk in either order.
        rival_error = np.sqrt(np.mean(np.square(rival - true)))
        assert np.sqrt(np.mean(np.square(ours - true))) <= 2 * rival_error


def test_half_precision_sums_in_float32() -> None:
    x = np.full((1, 3000), 1.0, np.float16)
    kernel = np.full((3000, 1), 0.1, np.float16)
    y = linear.dense(x, kernel, np.zeros(1, np.float16))
    assert y.dtype == np.float16
    assert y[0, 0] == np.float16(3000 * float(np.float16(0.1)))


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 3), (3, 0)])
def test_no_features_are_a_size_like_any_other(inputs: int, outputs: int) -> None:
    arguments = np.ones((2, inputs)), np.ones((inputs, outputs)), np.ones(outputs)
    y, pullback = linear.dense_vjp(*arguments)
    assert [c.shape for c in pullback(y)] == [a.shape for a in arguments]


def test_what_does_not_fit_is_refused_by_name() -> None:
    x, kernel, bias = np.ones((2, 3)), np.ones((3, 4)), np.ones(4)
    with pytest.raises(ShapeError, match=r"dense: kernel has shape \(2, 4\).* with in = 3"):
        linear.dense(x, np.ones((2, 4)), bias)
    with pytest.raises(ShapeError, match=r"dense: bias has shape \(1,\).* with out = 4"):
        linear.dense(x, kernel, np.ones(1))
    with pytest.raises(ShapeError, match=r"dense: x has shape \(\), which is of rank 0"):
        linear.dense(np.ones(()), kernel, bias)
    with pytest.raises(DtypeError, match="dense: kernel has dtype float32 and x float64"):
        linear.dense(x, kernel.astype(np.float32), bias)
