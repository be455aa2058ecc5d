"""Layers against ``jax.vjp`` of the reference layers, over random nested models."""

from typing import Any

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

import reference.layers
from purenn import layers, ops, random, tree
from purenn.layers import Layer, dense, flatten, relu, residual, serial
from purenn.ops import _linear
from purenn.typing import Array, Shape

ACTIVATIONS = [
    "relu",
    "leaky_relu",
    "sigmoid",
    "tanh",
    "softplus",
    "gelu",
    "silu",
    "softmax",
    "log_softmax",
]
KEY = random.key(0)


def build(module: Any, model: Any) -> Any:
    """The same model from ``purenn.layers`` or from ``reference.layers``."""
    match model:
        case str():
            return getattr(module, model)
        case ("dense", features):
            return module.dense(features)
        case ("residual", inner):
            return module.residual(build(module, inner))
        case _:
            return module.serial(**{f"layer{i}": build(module, part) for i, part in model})
    raise AssertionError(model)


@st.composite
def models(draw: st.DrawFn, shape: Shape, depth: int = 2) -> tuple[Any, Shape]:
    """A description for ``build`` and the shape that it turns ``shape`` into."""
    kind = draw(st.sampled_from(["dense", "activation", "flatten", "residual", "serial"]))
    if kind == "dense" or depth == 0:
        features = draw(st.integers(1, 3))
        return ("dense", features), (*shape[:-1], features)
    if kind == "activation":
        return draw(st.sampled_from(ACTIVATIONS)), shape
    if kind == "flatten":
        return "flatten", (int(np.prod(shape)),)
    if kind == "residual":
        inner, after = draw(models(shape, depth - 1))
        if after[:-1] != shape[:-1]:
            return inner, after
        return ("residual", [(0, inner), (1, ("dense", shape[-1]))]), shape
    parts = []
    for i in range(draw(st.integers(1, 3))):
        part, shape = draw(models(shape, depth - 1))
        parts.append((i, part))
    return parts, shape


def frozen(x: Any) -> Any:
    """A tree whose arrays nobody can write to."""
    for leaf in tree.leaves(x):
        leaf.setflags(write=False)
    return x


def draw_values(like: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return frozen(tree.map(lambda leaf: np.asarray(rng.normal(size=leaf.shape), leaf.dtype), like))


def assert_trees_close(got: Any, expected: Any) -> None:
    expected = jax.tree.map(np.asarray, expected)
    for (path, a), (their_path, b) in zip(
        tree.leaves_with_paths(got), tree.leaves_with_paths(expected), strict=True
    ):
        assert path == their_path
        assert a.dtype == b.dtype, path
        scale = np.max(np.abs(b), initial=0.0)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12 * scale, err_msg=tree.show(path))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([(2,), (3, 2)]), st.integers(0, 3), st.integers(0, 2**32))
def test_vjp_is_that_of_the_reference(
    data: st.DataObject, shape: Shape, batch: int, seed: int
) -> None:
    description, output_shape = data.draw(models(shape))
    model = build(layers, description)
    params, state, announced = model.init(KEY, shape, np.float64)
    assert announced == output_shape
    params = draw_values(params, seed)
    x = draw_values(np.zeros((batch, *shape)), seed + 1)

    y, pullback, new_state = model.vjp(params, state, x)
    dy = draw_values(y, seed + 2)
    dparams, dx = pullback(dy)

    expected_y, expected_pullback = jax.vjp(
        lambda params, x: build(reference.layers, description)(params, state, x),
        jax.tree.map(jnp.asarray, params),
        jnp.asarray(x),
    )
    assert y.shape == (batch, *output_shape)
    assert_trees_close(y, expected_y)
    assert_trees_close((dparams, dx), expected_pullback(jnp.asarray(dy)))
    assert_trees_close(model.forward(params, state, x), y)
    assert new_state == state == {}

    once_more, no_dx = pullback(dy, input_cotangent=False)
    assert no_dx is None
    tree.map(np.testing.assert_array_equal, once_more, dparams)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_is_kept(dtype: Any) -> None:
    model = serial(a=flatten, b=residual(dense(4)), c=layers.gelu, d=dense(2), e=layers.softmax)
    params, state, _ = model.init(KEY, (2, 2), dtype)
    y, pullback, _ = model.vjp(params, state, np.ones((3, 2, 2), dtype))
    assert {leaf.dtype for leaf in tree.leaves((params, y, *pullback(y)))} == {np.dtype(dtype)}


def test_activation_passes_static_arguments_on() -> None:
    x = np.linspace(-2, 2, 12).reshape(4, 3)
    exact = layers.activation(ops.activations.gelu, approximate=False)
    y, pullback, _ = exact.vjp({}, {}, x)
    expected, expected_pullback = ops.activations.gelu_vjp(x, approximate=False)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(exact.forward({}, {}, x), expected)
    np.testing.assert_array_equal(pullback(x)[1], expected_pullback(x)[0])


def cube(x: Array) -> Array:
    return x * x * x


def cube_vjp(x: Array) -> tuple[Array, Any]:
    return cube(x), lambda dy: (3 * x * x * dy,)


def test_activation_takes_a_rule_of_ones_own() -> None:
    y, pullback, _ = layers.activation(cube).vjp({}, {}, np.full((1, 1), 2.0))
    assert y == 8
    assert pullback(y)[1] == 96


@pytest.fixture
def input_cotangents(monkeypatch: pytest.MonkeyPatch) -> list[Shape]:
    """The shapes of the kernels whose input cotangent was computed."""
    seen: list[Shape] = []
    compute = _linear.dense_input_cotangent

    def spy(kernel: Array, dy: Array) -> Array:
        seen.append(kernel.shape)
        return compute(kernel, dy)

    monkeypatch.setattr(_linear, "dense_input_cotangent", spy)
    return seen


@pytest.mark.parametrize(
    ("first", "also_computed"),
    [
        (dense(6), []),
        (serial(inner=dense(6), act=relu), []),
        (serial(flat=flatten, inner=serial(act=relu, deep=dense(6))), []),
        (residual(dense(8)), []),
        (residual(serial(a=dense(4), b=dense(8))), [(4, 8)]),
    ],
)
def test_nothing_before_the_first_parameters_is_computed(
    first: Layer, also_computed: list[Shape], input_cotangents: list[Shape]
) -> None:
    model = serial(flat=flatten, act=relu, first=first, out=dense(3))
    params, state, _ = model.init(KEY, (2, 4))
    y, pullback, _ = model.vjp(params, state, np.ones((5, 2, 4), np.float32))
    assert pullback(y, input_cotangent=False)[1] is None
    assert input_cotangents == [params["out"]["kernel"].shape, *also_computed]
    input_cotangents.clear()
    assert pullback(y)[1].shape == (5, 2, 4)
    assert len(input_cotangents) == 2 + len(also_computed)


def test_a_model_without_parameters_has_none() -> None:
    model = serial(flat=flatten, act=serial(one=relu, two=layers.tanh))
    assert model.init(KEY, (2, 3)) == ({}, {}, (6,))
    y, pullback, _ = model.vjp({}, {}, np.ones((1, 2, 3)))
    assert pullback(y)[0] == {}
    assert pullback(y, input_cotangent=False) == ({}, None)


def counting(seen: list[Any]) -> Layer:
    """A layer with a state, that notes the keys it is given."""

    def vjp(params: Any, state: Any, x: Array, key: Any = None) -> Any:
        seen.append(key)
        return x, lambda dy, *, input_cotangent=True: ({}, dy), {"count": state["count"] + 1}

    return Layer(
        lambda key, shape, dtype=np.float32: ({}, {"count": np.zeros(())}, shape),
        lambda params, state, x: x,
        vjp,
        stochastic=True,
    )


def test_state_and_keys_reach_their_layers() -> None:
    seen: list[Any] = []
    model = serial(a=counting(seen), act=relu, b=serial(c=counting(seen)))
    params, state, _ = model.init(KEY, (2,))
    assert state == {"a": {"count": 0}, "b": {"c": {"count": 0}}}
    x = np.ones((1, 2))
    _, _, new_state = model.vjp(params, state, x, KEY)
    assert new_state == {"a": {"count": 1}, "b": {"c": {"count": 1}}}
    assert state == {"a": {"count": 0}, "b": {"c": {"count": 0}}}
    keys = random.split(KEY, 3)
    np.testing.assert_array_equal(seen, [keys[0], random.split(keys[2], 1)[0]])
    seen.clear()
    model.vjp(params, state, x)
    assert seen == [None, None]


def test_every_layer_draws_its_own_parameters() -> None:
    model = serial(a=dense(3), b=dense(3))
    params, _, _ = model.init(KEY, (3,))
    again, _, _ = model.init(KEY, (3,))
    tree.map(np.testing.assert_array_equal, params, again)
    assert not np.array_equal(params["a"]["kernel"], params["b"]["kernel"])
    np.testing.assert_array_equal(params["a"]["bias"], np.zeros(3, np.float32))


def test_parameters_are_those_of_flax() -> None:
    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return nn.relu(nn.Dense(5, name="hidden")(x))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = Encoder(name="encoder")(x.reshape(x.shape[0], -1))
            return nn.log_softmax(nn.Dense(3, name="out")(x + nn.Dense(5, name="skip")(x)))

    model = serial(
        flat=flatten,
        encoder=serial(hidden=dense(5), act=relu),
        skip=residual(dense(5)),
        out=dense(3),
        y=layers.log_softmax,
    )
    x = draw_values(np.zeros((4, 3, 2)), 0)
    theirs = Net().init(jax.random.key(1), x)["params"]
    ours, _, _ = model.init(KEY, (3, 2))
    tree.check_like("ours", ours, jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), theirs))
    theirs = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), theirs)
    expected = np.asarray(Net().apply({"params": theirs}, x))
    np.testing.assert_allclose(model.forward(theirs, {}, x), expected, rtol=1e-12, atol=1e-14)
