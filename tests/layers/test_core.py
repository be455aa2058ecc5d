"""What every layer keeps: the contract of ``Layer``, with derivatives by numbers."""

from typing import Any

import numpy as np
import pytest

from purenn import layers, random, tree, verify
from purenn.errors import DtypeError, ShapeError, TreeError
from purenn.layers import Layer
from purenn.typing import Array, Params, Shape

KEY = random.key(3)
IMAGE = (5, 6, 4)
STEPS = (3, 4)

LAYERS: dict[str, tuple[Layer, Shape]] = {
    "avg_pool": (layers.avg_pool((2, 2), strides=2), IMAGE),
    "batch_norm": (layers.batch_norm(), IMAGE),
    "conv": (layers.conv(3, (3, 2), strides=2), IMAGE),
    "conv_transpose": (layers.conv_transpose(3, (3, 2), strides=2), IMAGE),
    "dense": (layers.dense(3), STEPS),
    "drop_block": (layers.drop_block(0.2, 2), IMAGE),
    "dropout": (layers.dropout(0.4), STEPS),
    "eru": (layers.eru(2.5), STEPS),
    "gaussian_dropout": (layers.gaussian_dropout(0.4), STEPS),
    "global_avg_pool": (layers.global_avg_pool, IMAGE),
    "global_max_pool": (layers.global_max_pool, IMAGE),
    "group_norm": (layers.group_norm(2), IMAGE),
    "gru": (layers.gru(3), STEPS),
    "instance_norm": (layers.instance_norm(), IMAGE),
    "layer_norm": (layers.layer_norm(), STEPS),
    "local_response_norm": (layers.local_response_norm(3), IMAGE),
    "lstm": (layers.lstm(3), STEPS),
    "max_drop": (layers.max_drop(0.5), IMAGE),
    "max_pool": (layers.max_pool((2, 2), strides=2), IMAGE),
    "maxout": (layers.maxout(2), STEPS),
    "multi_head_attention": (layers.multi_head_attention(2), STEPS),
    "oru": (layers.oru(2.5), STEPS),
    "prelu": (layers.prelu(), STEPS),
    "residual": (layers.residual(layers.dense(4)), STEPS),
    "rms_norm": (layers.rms_norm(), STEPS),
    "rnn": (layers.rnn(3), STEPS),
    "serial": (layers.serial(one=layers.dense(3), drop=layers.dropout(0.2)), STEPS),
    "soft_exponential": (layers.soft_exponential(), STEPS),
    "spatial_dropout": (layers.spatial_dropout(0.4), IMAGE),
    "stochastic_dropout": (layers.stochastic_dropout(0.4), STEPS),
    "upsample_nearest": (layers.upsample_nearest(2), IMAGE),
}
NOT_OF_FLOATS = {"embedding"}
"""Its inputs are integers: see test_linear.py."""

for _name in layers.__all__:
    if isinstance(getattr(layers, _name), Layer):
        LAYERS.setdefault(_name, (getattr(layers, _name), STEPS))

every_layer = pytest.mark.parametrize(
    ("layer", "shape"), [pytest.param(*its, id=name) for name, its in LAYERS.items()]
)


def example(layer: Layer, shape: Shape, dtype: Any, batch: int = 2) -> tuple[Params, Any, Array]:
    """Parameters that are not as they begin, the state, and a batch."""
    rng = np.random.default_rng(5)
    params, state, _ = layer.init(KEY, shape, dtype)
    params = tree.map(lambda leaf: np.asarray(leaf + 0.3 * rng.random(leaf.shape), dtype), params)
    x = np.asarray(rng.normal(size=(batch, *shape)), dtype)
    for array in (*tree.leaves((params, state)), x):
        array.setflags(write=False)
    return params, state, x


def test_no_layer_is_forgotten() -> None:
    elsewhere = {"Layer", "State", "activation", "vjp_of"} | NOT_OF_FLOATS
    assert {*layers.__all__} - elsewhere == {*LAYERS}


@every_layer
def test_shapes_dtypes_and_trees(layer: Layer, shape: Shape) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        announced = layer.init(KEY, shape, dtype)[2]
        for batch in (3, 1, 0):
            if batch == 0 and layer is LAYERS["batch_norm"][0]:
                continue  # has no statistics: see test_normalization.py
            params, state, x = example(layer, shape, dtype, batch)
            assert layer.forward(params, state, x).shape == (batch, *announced)
            y, pullback, new_state = layer.vjp(params, state, x, KEY)
            dparams, dx = pullback(y)
            assert y.shape == (batch, *announced)
            assert dx.shape == x.shape
            tree.check_like("dparams", dparams, params)
            tree.check_like("new_state", new_state, state)
            arrays = tree.leaves((params, y, dparams, dx))
            assert {array.dtype for array in arrays} == {np.dtype(dtype)}


@every_layer
def test_gradients_are_those_of_the_value(unannotated: None, layer: Layer, shape: Shape) -> None:
    params, state, x = example(layer, shape, np.float64)
    weights = np.cos(np.arange(layer.vjp(params, state, x, KEY)[0].size))

    flat, unravel = tree.ravel({"params": params, "x": x})

    def loss(vector: Array) -> Any:
        at = unravel(vector)
        y = layer.vjp(at["params"], state, at["x"], KEY)[0]
        return np.sum(weights.reshape(y.shape) * y)

    def grad(vector: Array) -> Array:
        at = unravel(vector)
        y, pullback, _ = layer.vjp(at["params"], state, at["x"], KEY)
        dparams, dx = pullback(weights.reshape(y.shape))
        return tree.ravel({"params": dparams, "x": dx})[0]

    verify.check_gradient(grad, loss, flat, entries=3)


@every_layer
def test_without_the_input_cotangent_the_rest_is_the_same(layer: Layer, shape: Shape) -> None:
    params, state, x = example(layer, shape, np.float32)
    y, pullback, _ = layer.vjp(params, state, x, KEY)
    dparams, _ = pullback(y)
    alone, nothing = pullback(y, input_cotangent=False)
    assert nothing is None
    tree.map(np.testing.assert_array_equal, alone, dparams)


@every_layer
def test_what_does_not_fit_is_refused(layer: Layer, shape: Shape) -> None:
    params, state, x = example(layer, shape, np.float32)
    y, pullback, _ = layer.vjp(params, state, x, KEY)
    for call in (layer.forward, layer.vjp):
        with pytest.raises(DtypeError, match="x has dtype int64, expected a floating dtype"):
            call(params, state, x.astype(int))
        with pytest.raises(TreeError, match=r"params has keys .*'stray'"):
            call({**params, "stray": x}, state, x)
        if params:
            with pytest.raises(TreeError):
                call({}, state, x)
    with pytest.raises(ShapeError, match="dy has shape"):
        pullback(y[:1])
    with pytest.raises(DtypeError, match="dy has dtype float64"):
        pullback(y.astype(float))
