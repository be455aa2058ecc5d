import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reference.ops.linear
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import linear
from purenn.typing import Array


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


def test_rows_of_repeated_ids_add_up() -> None:
    rng = np.random.default_rng(0)
    table, dy = rng.normal(size=(5, 3)), rng.normal(size=(4, 30, 3))
    ids = rng.integers(0, 4, (4, 30))
    y, pullback = linear.embedding_vjp(ids, table)
    theirs, their_pullback = jax.vjp(lambda table: jnp.take(table, ids, axis=0), table)
    dids, dtable = pullback(dy)
    assert dids is None
    np.testing.assert_array_equal(y, theirs)
    np.testing.assert_allclose(dtable, their_pullback(dy)[0], rtol=1e-12)
    assert not dtable[4].any()


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_ids_are_integers_of_any_width(dtype: type) -> None:
    ids: Array = np.array([2, 0, 71]).astype(dtype)
    table = np.arange(300.0).reshape(100, 3)
    y, pullback = linear.embedding_vjp(ids, table)
    np.testing.assert_array_equal(y, [[6, 7, 8], [0, 1, 2], [213, 214, 215]])
    np.testing.assert_array_equal(np.argwhere(pullback(y)[1].any(axis=1)).ravel(), [0, 2, 71])


def test_rows_are_copies_and_none_is_fine() -> None:
    table = np.ones((3, 2))
    for ids in (np.array(1), np.zeros((0, 4), np.int64)):
        y, pullback = linear.embedding_vjp(ids, table)
        assert y.shape == (*ids.shape, 2)
        assert not np.shares_memory(y, table)
        assert pullback(y)[1].sum() == y.size


def test_half_precision_adds_repeated_ids_in_float32() -> None:
    ids, table = np.zeros(3001, np.int64), np.ones((2, 1), np.float16)
    _, dtable = linear.embedding_vjp(ids, table)[1](np.ones((3001, 1), np.float16))
    assert dtable.dtype == np.float16
    assert dtable[0, 0] == np.float16(3001)  # one by one in float16, 2048 + 1 is 2048


def test_ids_that_name_no_row_are_refused() -> None:
    table = np.ones((3, 2))
    for wrong in (-1, 3):
        with pytest.raises(DomainError, match=rf"embedding: ids\[1\] is {wrong}, expected 0 to 2"):
            linear.embedding(np.array([0, wrong]), table)
    with pytest.raises(DtypeError, match="embedding: ids has dtype float64, expected an integer"):
        linear.embedding(np.array([0.0]), table)


def test_bilinear_is_a_quadratic_form_for_each_output() -> None:
    rng = np.random.default_rng(0)
    x1, x2, kernel, bias = (rng.normal(size=s) for s in ((2, 3, 4), (2, 3, 5), (4, 5, 2), 2))
    y, pullback = linear.bilinear_vjp(x1, x2, kernel, bias)
    for place in np.ndindex(2, 3):
        for k in range(2):
            expected = x1[place] @ kernel[:, :, k] @ x2[place] + bias[k]
            np.testing.assert_allclose(y[(*place, k)], expected, rtol=1e-12)
    _, theirs = jax.vjp(reference.ops.linear.bilinear, x1, x2, kernel, bias)
    dy = rng.normal(size=y.shape)
    for ours, expected in zip(pullback(dy), theirs(dy), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("large", range(3))
def test_products_of_three_factors_do_not_leave_the_range_on_the_way(large: int) -> None:
    # 1e30·1e30·1e-30 and 1e-30·1e-30·1e30, with the odd one in each place.
    for most in (1e30, 1e-30):
        x1, x2, w = (np.float32(1 / most if k == large else most) for k in range(3))
        y, pullback = linear.bilinear_vjp(
            np.full((1, 1), x1), np.full((1, 1), x2), np.full((1, 1, 1), w), np.zeros(1, np.float32)
        )
        assert y.item() == np.float32(float(x1) * float(x2) * float(w))
        (dx1, dx2, dw, _) = pullback(np.ones((1, 1), np.float32))
        with np.errstate(over="ignore", under="ignore"):
            assert dx1.item() == np.float32(float(x2) * float(w))
            assert dx2.item() == np.float32(float(x1) * float(w))
            assert dw.item() == np.float32(float(x1) * float(x2))


@pytest.mark.parametrize("shape", [(0,), (), (2, 0)])
def test_bilinear_of_nothing(shape: tuple[int, ...]) -> None:
    arguments = np.ones((*shape, 2)), np.ones((*shape, 3)), np.ones((2, 3, 4)), np.ones(4)
    y, pullback = linear.bilinear_vjp(*arguments)
    assert y.shape == (*shape, 4)
    assert [c.shape for c in pullback(y)] == [a.shape for a in arguments]


def test_what_does_not_fit_a_bilinear_map_is_refused_by_name() -> None:
    x1, x2, kernel, bias = np.ones((2, 3)), np.ones((2, 4)), np.ones((3, 4, 5)), np.ones(5)
    with pytest.raises(ShapeError, match=r"bilinear: x2 has shape \(3, 4\).* with batch = \(2,\)"):
        linear.bilinear(x1, np.ones((3, 4)), kernel, bias)
    with pytest.raises(ShapeError, match=r"bilinear: kernel has shape \(5, 3, 4\).* with in1 = 3"):
        linear.bilinear(x1, x2, np.ones((5, 3, 4)), bias)


@pytest.mark.parametrize("shape", [(1024, 10), (16384, 64), (200001, 2)])
def test_long_sums_of_a_batch_keep_their_digits(shape: tuple[int, int]) -> None:
    dy = np.abs(np.random.default_rng(0).normal(size=shape)).astype(np.float32)
    x, kernel = np.ones((shape[0], 1), np.float32), np.ones((1, shape[1]), np.float32)
    _, _, dbias = linear.dense_vjp(x, kernel, kernel[0])[1](dy)
    ids = np.zeros(len(x), np.int64)
    _, dtable = linear.embedding_vjp(ids, kernel)[1](dy)
    exact = dy.sum(axis=0, dtype=np.float64)
    for ours, ulps in ((dbias, 2), (dtable[0], 0.5)):
        assert np.max(np.abs(ours - exact) / np.spacing(ours)) <= ulps


def test_infinite_sums_and_products_come_without_a_warning() -> None:
    x, kernel = np.full((2, 2), 1e30, np.float32), np.full((2, 2), 1e30, np.float32)
    y, pullback = linear.dense_vjp(x, kernel, kernel[0])
    for product in (y, *pullback(kernel)[:2]):
        assert (product == np.inf).all()
    big = np.full((2, 1), 3e38, np.float32)
    assert linear.embedding_vjp(np.zeros(2, int), big)[1](big)[1][0] == np.inf
    assert linear.dense_vjp(big, big[:1], big[0])[1](big)[2] == np.inf
    huge = np.full((1, 1), 1e300)
    y, pullback = linear.bilinear_vjp(huge, huge, huge[..., None], huge[0])
    assert y == np.inf
    assert all((cotangent == np.inf).all() for cotangent in pullback(huge)[:3])
