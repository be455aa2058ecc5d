from typing import Any

import jax
import numpy as np
import pytest

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import resizing


@pytest.mark.parametrize(
    ("shape", "scale"),
    [((2, 3, 2), 3), ((1, 2, 3, 2), (2, 3)), ((2, 2, 2, 1), (1, 2)), ((1, 2, 1, 3, 2), 2)],
)
def test_multiples_are_resized_as_by_jax(shape: tuple[int, ...], scale: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    y, pullback = resizing.upsample_nearest_vjp(x, scale=scale)
    theirs, their_pullback = jax.vjp(lambda x: jax.image.resize(x, y.shape, "nearest"), x)
    np.testing.assert_array_equal(y, theirs)
    dy = rng.normal(size=y.shape)
    np.testing.assert_allclose(pullback(dy)[0], their_pullback(dy)[0], rtol=1e-13, atol=1e-15)


def test_the_example_of_the_onnx_operator() -> None:
    x = np.array([[1.0, 2], [3, 4]]).reshape(1, 2, 2, 1)
    y = resizing.upsample_nearest(x, scale=(2, 3))[0, :, :, 0]
    expected = [[1, 1, 1, 2, 2, 2]] * 2 + [[3, 3, 3, 4, 4, 4]] * 2
    np.testing.assert_array_equal(y, expected)


def test_a_scale_of_one_is_a_copy() -> None:
    x = np.ones((1, 2, 2, 1))
    y, pullback = resizing.upsample_nearest_vjp(x, scale=1)
    np.testing.assert_array_equal(y, x)
    assert not np.shares_memory(x, y)
    assert not np.shares_memory(y, pullback(y)[0])


def test_half_precision_sums_in_float32() -> None:
    x = np.ones((1, 1, 1), np.float16)
    _, pullback = resizing.upsample_nearest_vjp(x, scale=3001)
    (dx,) = pullback(np.ones((1, 3001, 1), np.float16))
    assert dx.dtype == np.float16
    assert dx.item() == np.float16(3001)  # one by one in float16, 2048 + 1 is 2048


def test_empty_images_stay_empty() -> None:
    for shape in ((0, 2, 2, 1), (1, 0, 2, 1)):
        y, pullback = resizing.upsample_nearest_vjp(np.ones(shape), scale=2)
        assert y.shape == (shape[0], 2 * shape[1], 4, 1)
        assert pullback(y)[0].shape == shape


def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((1, 2, 2, 1))
    for scale in (0, (2, -1)):
        with pytest.raises(DomainError, match=r"upsample_nearest: scale is .* at least 1"):
            resizing.upsample_nearest(x, scale=scale)
    with pytest.raises(ShapeError, match=r"upsample_nearest: scale is \(2,\), of length 1"):
        resizing.upsample_nearest_vjp(x, scale=(2,))
    with pytest.raises(ShapeError, match=r"upsample_nearest: x has shape \(2, 3\), expected"):
        resizing.upsample_nearest(np.ones((2, 3)), scale=2)
    with pytest.raises(DtypeError, match="upsample_nearest: x has dtype int64"):
        resizing.upsample_nearest(np.ones((1, 2, 1), np.int64), scale=2)
