import numpy as np
import pytest

from purenn import random
from purenn.errors import ShapeError
from purenn.layers import flatten


def test_flatten_keeps_the_batch_and_the_order() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    assert flatten.init(random.key(0), (3, 4)) == ({}, {}, (12,))
    y, pullback, _ = flatten.vjp({}, {}, x)
    np.testing.assert_array_equal(y, np.arange(24.0).reshape(2, 12))
    np.testing.assert_array_equal(pullback(y)[1], x)
    assert flatten.forward({}, {}, np.ones((0, 3, 4))).shape == (0, 12)
    assert flatten.forward({}, {}, np.ones(2)).shape == (2, 1)


def test_a_batch_dimension_is_needed() -> None:
    with pytest.raises(ShapeError, match=r"flatten: x has shape \(\), expected a batch dimension"):
        flatten.forward({}, {}, np.ones(()))
