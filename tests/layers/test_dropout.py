"""Layers of noise: nothing at inference, the rule's noise in training."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn import layers, random
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.layers import Layer
from purenn.ops import dropout as ops

KEY = random.key(5)
untyped: Any = layers
X = np.random.default_rng(0).normal(size=(3, 4, 5, 2))

LAYERS: dict[str, tuple[Layer, dict[str, Any]]] = {
    "dropout": (layers.dropout(0.5, (0, -1)), {"rate": 0.5, "broadcast_dims": (0, -1)}),
    "spatial_dropout": (layers.spatial_dropout(0.5), {"rate": 0.5}),
    "gaussian_dropout": (layers.gaussian_dropout(0.5), {"rate": 0.5}),
    "drop_block": (layers.drop_block(0.5, 2), {"rate": 0.5, "block_size": 2}),
    "max_drop": (layers.max_drop(0.5, "channel"), {"rate": 0.5, "mode": "channel"}),
    "stochastic_dropout": (layers.stochastic_dropout(0.5), {"rate": 0.5}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_at_inference_and_the_noise_of_the_rule_in_training(name: str) -> None:
    layer, static = LAYERS[name]
    assert layer.stochastic
    assert layer.init(KEY, (4, 5, 2)) == ({}, {}, (4, 5, 2))
    np.testing.assert_array_equal(layer.forward({}, {}, X), X)
    y, pullback, state = layer.vjp({}, {}, X, KEY)
    expected, expected_pullback = getattr(ops, f"{name}_vjp")(X, key=KEY, **static)
    np.testing.assert_array_equal(y, expected)
    assert np.any(y != X)
    dparams, dx = pullback(X)
    np.testing.assert_array_equal(dx, expected_pullback(X)[0])
    assert dparams == state == {}
    assert pullback(X, input_cotangent=False) == ({}, None)


@pytest.mark.parametrize("name", LAYERS)
def test_no_noise_without_a_key(name: str) -> None:
    layer, _ = LAYERS[name]
    with pytest.raises(DtypeError, match=f"{name}: key is None"):
        layer.vjp({}, {}, X)
    model = layers.serial(first=layers.relu, noise=layer)
    with pytest.raises(DtypeError, match=f"noise: {name}: key is None"):
        model.vjp({}, {}, X)


def test_dropout_of_a_model_is_that_of_flax() -> None:
    model = layers.serial(hidden=layers.dense(6), noise=layers.dropout(0.25), out=layers.dense(2))
    params, state, _ = model.init(KEY, (3,))
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    y, pullback, _ = model.vjp(params, state, x, KEY)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x: Any, rng: Any) -> Any:
            x = nn.Dense(6, name="hidden")(x)
            x = nn.Dropout(0.25, deterministic=False)(x, rng=rng)
            return nn.Dense(2, name="out")(x)

    with jax.enable_x64(False):
        rng = jax.random.split(jax.random.wrap_key_data(jnp.asarray(KEY)), 3)[1]
        theirs, their_pullback = jax.vjp(lambda p: Model().apply({"params": p}, x, rng), params)
        (expected,) = their_pullback(theirs)
    np.testing.assert_allclose(y, np.asarray(theirs), rtol=1e-5, atol=1e-6)
    dparams, _ = pullback(y)
    for layer in ("hidden", "out"):
        for leaf in ("kernel", "bias"):
            np.testing.assert_allclose(
                dparams[layer][leaf], expected[layer][leaf], rtol=1e-5, atol=1e-5
            )


def test_each_layer_of_a_model_has_a_key_of_its_own() -> None:
    model = layers.serial(one=layers.dropout(0.5), two=layers.dropout(0.5))
    x = np.ones((1, 1000))
    y, _, _ = model.vjp({}, {}, x, KEY)
    assert {*y.ravel().tolist()} == {0, 4}
    assert 150 < np.sum(y == 4) < 350


@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_is_refused_by_name() -> None:
    for make in (untyped.dropout, untyped.gaussian_dropout, untyped.spatial_dropout):
        refused = f"{make.__name__}: rate is "
        with pytest.raises(DomainError, match=refused + "1.0, expected a finite number ≥ 0 and < "):
            make(1.0)
        with pytest.raises(DtypeError, match=refused + "None, expected a number"):
            make(None)
    for dims in (0, 2, "2", (0.5,), (True,)):
        with pytest.raises(DtypeError, match=r"dropout: broadcast_dims(\[0\])? is .*, expected a"):
            untyped.dropout(0.5, dims)
    untyped.drop_block(0.5, np.int64(2))
    with pytest.raises(DtypeError, match="drop_block: block_size is True, expected an int"):
        untyped.drop_block(0.5, True)
    with pytest.raises(DomainError, match="block_size is 0"):
        layers.drop_block(0.5, 0)
    with pytest.raises(DomainError, match="max_drop: mode is 'map'"):
        layers.max_drop(0.5, "map")
    block = layers.drop_block(0.5, 5)
    with pytest.raises(ShapeError, match=r"block_size is 5, .* the image has, 4 × 5"):
        block.init(KEY, (4, 5, 2))
    with pytest.raises(ShapeError, match="block_size is 5"):
        block.forward({}, {}, X)
    with pytest.raises(ShapeError, match=r"drop_block: an example has shape \(5, 2\), expected"):
        block.vjp({}, {}, X[0], KEY)
    with pytest.raises(ShapeError, match=r"max_drop: an example has shape \(\), expected"):
        layers.max_drop(0.5).vjp({}, {}, np.ones(3), KEY)
