from typing import Any

import flax.linen as nn
import numpy as np
import pytest

from purenn import layers, random
from purenn.errors import DomainError, ShapeError, TreeError
from purenn.layers import Layer
from purenn.ops import pooling
from purenn.typing import Array

FLAX: Any = nn
KEY = random.key(0)
X = np.random.default_rng(0).normal(size=(2, 6, 5, 3))
OPTIONS: list[dict[str, Any]] = [
    {"window_shape": (2, 2), "strides": (2, 2)},
    {"window_shape": (3, 2), "strides": (2, 1), "padding": "SAME"},
    {"window_shape": (3, 3), "padding": ((1, 1), (0, 2))},
]


def check(layer: Layer, rule: Any, **static: Any) -> Array:
    """The layer announces its shape, is the rule, and its pullback is the rule's; y comes back."""
    params, state, shape = layer.init(KEY, X.shape[1:])
    assert params == {}
    assert state == {}
    y, pullback, new_state = layer.vjp(params, state, X)
    assert y.shape == (2, *shape)
    assert new_state == {}
    expected_y, expected_pullback = rule(X, **static)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(layer.forward(params, state, X), y)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    dparams, dx = pullback(dy)
    assert dparams == {}
    np.testing.assert_array_equal(dx, expected_pullback(dy)[0])
    assert pullback(dy, input_cotangent=False) == ({}, None)
    return y


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_pooling_layers_take_the_arguments_of_flax(options: dict[str, Any]) -> None:
    y = check(layers.max_pool(**options), pooling.max_pool_vjp, **options)
    np.testing.assert_allclose(y, FLAX.max_pool(X, **options), rtol=1e-14)
    for include in (True, False):
        more = {**options, "count_include_pad": include}
        y = check(layers.avg_pool(**more), pooling.avg_pool_vjp, **more)
        np.testing.assert_allclose(y, FLAX.avg_pool(X, **more), rtol=1e-14)


def test_global_pooling_leaves_the_features() -> None:
    y = check(layers.global_max_pool, pooling.global_max_pool_vjp)
    np.testing.assert_array_equal(y, X.max(axis=(1, 2)))
    y = check(layers.global_avg_pool, pooling.global_avg_pool_vjp)
    np.testing.assert_allclose(y, X.mean(axis=(1, 2)), rtol=1e-14)


def test_what_does_not_fit_is_refused_by_name() -> None:
    model = layers.serial(pool=layers.max_pool(4))
    with pytest.raises(ShapeError, match=r"pool: max_pool: the window has shape \(4, 4\)"):
        model.init(KEY, (6, 3, 1))
    with pytest.raises(ShapeError, match=r"pool: max_pool: the window has shape \(4, 4\)"):
        model.vjp({}, {}, np.ones((2, 6, 3, 1)))
    with pytest.raises(ShapeError, match=r"avg_pool: x has shape \(2, 3\), expected \(batch, \*"):
        layers.avg_pool(2).forward({}, {}, np.ones((2, 3)))
    with pytest.raises(DomainError, match="avg_pool: strides is 0"):
        layers.avg_pool(2, 0).init(KEY, (4, 4, 1))
    with pytest.raises(ShapeError, match=r"global_avg_pool: x has shape .* with an entry in space"):
        layers.global_avg_pool.init(KEY, (3,))
    with pytest.raises(TreeError, match=r"max_pool: params has keys \['kernel'\], expected \[\]"):
        layers.max_pool(2).forward({"kernel": X}, {}, X)


def test_what_no_input_fits_is_refused_when_the_layer_is_made() -> None:
    with pytest.raises(DomainError, match="max_pool: window_shape is 0, expected at least 1"):
        layers.max_pool((0, 2))
    with pytest.raises(DomainError, match="avg_pool: padding is 'FOO'"):
        layers.avg_pool(2, padding="FOO")
    with pytest.raises(ShapeError, match=r"max_pool: strides is \(1,\), of length 1"):
        layers.max_pool((2, 2), strides=(1,))
    with pytest.raises(DomainError, match="upsample_nearest: scale is 0, expected at least 1"):
        layers.upsample_nearest((2, 0))
