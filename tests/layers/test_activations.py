import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn import layers, random
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.layers import Layer
from purenn.ops import activations
from purenn.typing import Array

KEY = random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(0, 2, (5, 3, 4))
WITHOUT_PARAMETERS = [
    "bipolar_relu",
    "celu",
    "elu",
    "gelu",
    "glu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "heaviside",
    "identity",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_sign",
    "softmax",
    "softplus",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "standardize",
    "swish",
    "tanh",
]
CASES: list[Any] = [
    *((getattr(layers, name), getattr(activations, f"{name}_vjp")) for name in WITHOUT_PARAMETERS),
    (layers.maxout(2), lambda x: activations.maxout_vjp(x, num_units=2)),
    (layers.eru(3.0), lambda x: activations.eru_vjp(x, r=3.0)),
    (layers.oru(3.0), lambda x: activations.oru_vjp(x, r=3.0)),
]


@pytest.mark.parametrize(
    ("layer", "rule_vjp"), CASES, ids=[*WITHOUT_PARAMETERS, "maxout", "eru", "oru"]
)
def test_without_parameters_it_is_the_rule(layer: Layer, rule_vjp: Any) -> None:
    params, state, shape = layer.init(KEY, X.shape[1:])
    assert (params, state) == ({}, {})
    y, pullback, new_state = layer.vjp({}, {}, X)
    assert (y.shape, new_state) == ((5, *shape), {})
    np.testing.assert_array_equal(layer.forward({}, {}, X), y)
    expected, expected_pullback = rule_vjp(X)
    np.testing.assert_array_equal(y, expected)
    dy = np.cos(np.arange(float(y.size))).reshape(y.shape)
    none, dx = pullback(dy)
    assert none == {}
    np.testing.assert_array_equal(dx, expected_pullback(dy)[0])
    assert pullback(dy, input_cotangent=False) == ({}, None)


@pytest.mark.parametrize("name", ["celu", "elu", "gelu", "glu", "leaky_relu", "silu", "softmax"])
def test_the_values_of_flax(name: str) -> None:
    expected = np.asarray(getattr(nn, name)(X))
    np.testing.assert_allclose(getattr(layers, name).forward({}, {}, X), expected, rtol=1e-9)


def test_every_activation_of_one_array_has_a_layer() -> None:
    names = {name for name in activations.__all__ if not name.endswith("_vjp")} - {"logsumexp"}
    assert names <= {*layers.__all__}


def test_prelu_is_that_of_flax() -> None:
    layer, flax = layers.prelu(), nn.PReLU(param_dtype=jnp.float64)
    params, state, shape = layer.init(KEY, (3, 4), np.float64)
    theirs: Any = dict(flax.init(jax.random.key(0), X))["params"]
    assert (state, shape) == ({}, (3, 4))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, theirs)
    np.testing.assert_array_equal(params["negative_slope"], theirs["negative_slope"])
    assert layers.prelu(0.25).init(KEY, (3,))[0]["negative_slope"] == 0.25

    y, pullback, _ = layer.vjp(params, state, X)
    np.testing.assert_array_equal(layer.forward(params, state, X), y)
    expected, jax_pullback = jax.vjp(lambda p, x: flax.apply({"params": p}, x), theirs, X)
    np.testing.assert_allclose(y, np.asarray(expected), rtol=1e-14)
    dy = np.cos(np.arange(float(y.size))).reshape(y.shape)
    (dparams, dx), (their_dparams, their_dx) = pullback(dy), jax_pullback(dy)
    np.testing.assert_allclose(dparams["negative_slope"], their_dparams["negative_slope"])
    np.testing.assert_allclose(dx, their_dx)
    assert pullback(dy, input_cotangent=False)[1] is None


def test_prelu_with_a_slope_per_feature() -> None:
    slope = np.array([0.1, 0.2, 0.3, 0.4])
    y, pullback, _ = layers.prelu().vjp({"negative_slope": slope}, {}, X)
    np.testing.assert_array_equal(y, np.where(X >= 0, X, slope * X))
    dslope = pullback(np.ones_like(X))[0]["negative_slope"]
    np.testing.assert_allclose(dslope, np.minimum(X, 0).sum((0, 1)))


def test_soft_exponential_begins_as_the_identity_and_learns_its_alpha() -> None:
    model = layers.serial(act=layers.soft_exponential())
    params, state, shape = model.init(KEY, (4,), np.float64)
    assert params == {"act": {"alpha": 0}}
    assert shape == (4,)
    x = RNG.random((50, 4))
    np.testing.assert_array_equal(model.forward(params, state, x), x)
    target = activations.soft_exponential(x, np.array(0.6))
    for _ in range(100):
        y, pullback, _ = model.vjp(params, state, x)
        (dparams, dx) = pullback((y - target) / len(x))
        assert dx.shape == x.shape
        params = {"act": {"alpha": params["act"]["alpha"] - 0.1 * dparams["act"]["alpha"]}}
        params["act"]["alpha"] = np.asarray(params["act"]["alpha"])
    np.testing.assert_allclose(params["act"]["alpha"], 0.6, rtol=1e-3)
    assert layers.soft_exponential(0.5).init(KEY, ())[0]["alpha"] == 0.5


def test_shapes_of_what_has_fewer_features() -> None:
    assert layers.glu.init(KEY, (3, 4))[2] == (3, 2)
    assert layers.maxout(3).init(KEY, (6,))[2] == (3,)
    with pytest.raises(ShapeError, match=r"gate: glu: x has shape .* expected an even size"):
        layers.serial(gate=layers.glu).init(KEY, (3,))
    with pytest.raises(ShapeError, match=r"maxout: x has shape .* expected a multiple of num_unit"):
        layers.maxout(4).init(KEY, (6,))
    for layer in (layers.glu, layers.maxout(2)):
        for call in (layer.forward, layer.vjp):
            with pytest.raises(ShapeError, match=r"x has shape \(4,\), expected \(batch, \.\.\., "):
                call({}, {}, np.ones(4))


@pytest.mark.parametrize(
    ("layer", "params", "error", "message"),
    [
        (
            layers.prelu(),
            {},
            TreeError,
            r"prelu: params has keys \[\], expected \['negative_",
        ),
        (layers.prelu(), None, TreeError, "prelu: params is a NoneType, expected a dict"),
        (
            layers.prelu(),
            {"negative_slope": np.ones(5)},
            ShapeError,
            r"prelu: negative_slope has shape \(5,\)",
        ),
        (
            layers.prelu(),
            {"negative_slope": np.ones((), np.float32)},
            DtypeError,
            "prelu.*: negative_slope has dtype float32 and x float64",
        ),
        (
            layers.soft_exponential(),
            {"alpha": np.ones(4)},
            ShapeError,
            r"soft_exponential.*: alpha has shape \(4,\)",
        ),
        (layers.soft_exponential(), {"alpha": 0.5}, DtypeError, "alpha is a float, expected a Num"),
        (
            layers.soft_exponential(),
            {"alpha": np.array(-1.0)},
            DomainError,
            r"x\[0, .*\] is -",
        ),
        (layers.relu, {"a": 1}, TreeError, r"relu: params has keys \['a'\], expected \[\]"),
    ],
)
def test_what_does_not_fit_is_refused(
    layer: Layer, params: Any, error: type[Exception], message: str
) -> None:
    for call in (layer.forward, layer.vjp):
        with pytest.raises(error, match=message):
            inspect.unwrap(call)(params, {}, X)


def test_a_cotangent_that_does_not_fit_is_refused() -> None:
    x: Array = X.astype(np.float32)
    params, state, _ = layers.prelu().init(KEY, (3, 4))
    _, pullback, _ = layers.prelu().vjp(params, state, x)
    with pytest.raises(DtypeError, match=r"prelu.*: dy has dtype float64, expected that"):
        pullback(X)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.eru(-1.0), DomainError, "eru: r is -1.0, expected a finite number ≥ 0.001"),
        (lambda: layers.maxout(0), DomainError, "maxout: num_units is 0, expected at least 1"),
        (lambda: layers.prelu(np.nan), DomainError, "prelu: negative_slope_init is nan"),
        (lambda: layers.soft_exponential(np.nan), DomainError, "exponential: alpha_init is nan"),
        (
            lambda: layers.activation(activations.elu, alpha=True),
            DtypeError,
            "elu: alpha is True, expected a number",
        ),
        (
            lambda: layers.prelu(True),
            DtypeError,
            "prelu: negative_slope_init is True, expected a number",
        ),
    ],
)
def test_options_are_refused_when_the_layer_is_made(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_options_that_fit_some_shapes_are_not_refused_when_the_layer_is_made() -> None:
    layer = layers.activation(activations.softmax, axis=2)
    np.testing.assert_allclose(layer.forward({}, {}, X).sum(2), 1)


@pytest.mark.parametrize("layer", [layers.prelu(), layers.soft_exponential()])
def test_what_is_trained_has_a_floating_dtype(layer: Layer) -> None:
    with pytest.raises(DtypeError, match="dtype is int32"):
        layer.init(KEY, (3,), np.int32)
