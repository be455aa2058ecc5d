import numpy as np
import pytest

from purenn import layers, random
from purenn.errors import DomainError
from purenn.ops import resizing

KEY = random.key(0)


def test_upsampling_announces_what_it_makes() -> None:
    layer = layers.upsample_nearest((2, 3))
    params, state, shape = layer.init(KEY, (4, 5, 3))
    assert (params, state, shape) == ({}, {}, (8, 15, 3))
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    y, pullback, _ = layer.vjp(params, state, x)
    expected_y, expected_pullback = resizing.upsample_nearest_vjp(x, scale=(2, 3))
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(layer.forward(params, state, x), y)
    np.testing.assert_array_equal(pullback(y)[1], expected_pullback(y)[0])


def test_a_scale_below_one_is_refused() -> None:
    with pytest.raises(DomainError, match="upsample_nearest: scale is 0, expected at least 1"):
        layers.upsample_nearest(0).init(KEY, (4, 4, 1))
