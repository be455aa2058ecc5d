from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn import layers, random, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError

KEY = random.key(0)
CELLS: Any = {"rnn": nn.SimpleCell, "lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell}
X = np.random.default_rng(0).normal(size=(2, 4, 3))


@pytest.mark.parametrize(
    ("name", "reverse", "keep_order"),
    [("rnn", False, False), ("lstm", True, True), ("gru", True, False)],
)
def test_layers_are_those_of_flax(name: str, reverse: bool, keep_order: bool) -> None:
    order: Any = {"reverse": reverse, "keep_order": keep_order}
    layer = getattr(layers, name)(5, **order)
    params, state, shape = layer.init(KEY, X.shape[1:], np.float64)
    flax = nn.RNN(CELLS[name](5, param_dtype=jnp.float64), **order)
    like = jax.eval_shape(flax.init, jax.random.key(0), X)["params"]
    tree.check_like("params", params, jax.tree.map(lambda x: np.empty(x.shape), like))

    @jax.jit
    def theirs(params: Any, x: Any, dy: Any) -> Any:
        y, pullback = jax.vjp(lambda params, x: flax.apply({"params": params}, x), params, x)
        return y, pullback(dy)

    y, pullback, new_state = layer.vjp(params, state, X)
    assert y.shape == (2, *shape)
    assert new_state == {}
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    expected = jax.tree.map(np.asarray, theirs(params, X, dy))
    tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13),
        (y, pullback(dy)),
        expected,
    )
    np.testing.assert_array_equal(layer.forward(params, state, X), y)
    dparams, dx = pullback(dy, input_cotangent=False)
    assert dx is None
    tree.map(np.testing.assert_array_equal, dparams, pullback(dy)[0])


@pytest.mark.parametrize("name", sorted(CELLS))
def test_first_kernels_of_the_state_are_rotations(name: str) -> None:
    params, _, _ = getattr(layers, name)(6).init(KEY, (4, 300))
    for part, leaves in params["cell"].items():
        kernel = leaves["kernel"]
        if part.startswith("h"):
            np.testing.assert_allclose(kernel.T @ kernel, np.eye(6), atol=1e-6)
        else:
            np.testing.assert_allclose(np.var(kernel), 1 / 300, rtol=0.1)
        assert not leaves.get("bias", np.zeros(6)).any()


@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_is_refused_by_name() -> None:
    model = layers.serial(first=layers.gru(5), then=layers.lstm(2))
    params, state, shape = model.init(KEY, (4, 3), np.float64)
    assert shape == (4, 2)
    with pytest.raises(ShapeError, match=r'first: gru: params\["cell"\].* with in = 2'):
        model.forward(params, state, X[..., :2])
    with pytest.raises(ShapeError, match=r"first: gru: x has shape \(4, 3\), which is of rank 2"):
        model.vjp(params, state, X[0])
    wide, _, _ = layers.lstm(3).init(KEY, (4, 5), np.float64)
    with pytest.raises(ShapeError, match=r"then: lstm: params\S+ has .* with features = 2"):
        model.forward({**params, "then": wide}, state, X)
    with pytest.raises(TreeError, match=r"first: gru: params has keys \[\], expected \['cell'\]"):
        model.forward({"then": params["then"]}, state, X)
    y, pullback, _ = model.vjp(params, state, X)
    with pytest.raises(ShapeError, match="then: lstm: dy has shape"):
        pullback(y[:1])
    for name, features in (("rnn", "2"), ("lstm", None), ("gru", 2.5), ("rnn", True)):
        with pytest.raises(DtypeError, match=f"{name}: features is .*, expected an int"):
            getattr(layers, name)(features)
    with pytest.raises(ShapeError, match="rnn: input_shape is 3, expected a tuple of sizes"):
        layers.rnn(2).init(KEY, 3)
    with pytest.raises(DomainError, match="rnn: features is 0, expected at least 1"):
        layers.rnn(0)
    with pytest.raises(ShapeError, match=r"rnn: input_shape is \(3,\), expected"):
        layers.rnn(2).init(KEY, (3,))
