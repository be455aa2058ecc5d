"""Layers against ``jax.vjp`` of the reference layers, over random nested models."""

import inspect
import re
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
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
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


MODEL = serial(flat=flatten, hidden=dense(6), act=relu, deep=serial(inner=dense(3)))
PARAMS = MODEL.init(KEY, (2, 2))[0]
X = np.ones((5, 2, 2), np.float32)


def with_leaf(layer: str, **leaves: Any) -> Any:
    return {**PARAMS, layer: {**PARAMS[layer], **leaves}}


@pytest.mark.parametrize(
    ("params", "x", "error", "message"),
    [
        (PARAMS, X[:, :, :1], ShapeError, "hidden: dense: x has 2 features, kernel expects 4"),
        (PARAMS, X.astype(int), DtypeError, "flat: flatten: x has dtype int64, expected a floa"),
        (PARAMS, X.astype(float), DtypeError, "hidden: dense: x has dtype float64, kernel float3"),
        (PARAMS, np.ones((), np.float32), ShapeError, "flat: flatten: x has shape (), expected a"),
        ({}, X, TreeError, "hidden: dense: params has keys [], expected ['kernel', 'bias']"),
        (
            {**PARAMS, "hiden": {}},
            X,
            TreeError,
            "params has keys ['hiden'], expected names of",
        ),
        (
            {**PARAMS, "act": {"a": X}},
            X,
            TreeError,
            "act: relu: params has keys ['a'], expected",
        ),
        (
            {**PARAMS, "deep": {"inner": {"kernel": X}}},
            X,
            TreeError,
            "deep: inner: dense: params has keys ['kernel'], expected ['kernel', 'bias']",
        ),
        (
            with_leaf("hidden", kernel=np.ones((4, 5), np.float32)),
            X,
            ShapeError,
            "hidden: dense: kernel has shape (4, 5), expected (in, 6)",
        ),
        (
            with_leaf("hidden", kernel=np.ones(4, np.float32)),
            X,
            ShapeError,
            "hidden: dense: kernel has shape (4,), expected (in, 6)",
        ),
        (
            with_leaf("hidden", bias=np.ones((1, 6), np.float32)),
            X,
            ShapeError,
            "hidden: dense: bias has shape (1, 6), expected (6,)",
        ),
        (
            with_leaf("hidden", bias=np.ones(6)),
            X,
            DtypeError,
            "hidden: dense: x has dtype float32, kernel float32 and bias float64; expected the",
        ),
        (
            with_leaf("hidden", kernel=[1.0]),
            X,
            DtypeError,
            "hidden: dense: kernel is a list, expected a NumPy array",
        ),
        (
            {**PARAMS, "deep": {"inner": PARAMS["hidden"]}},
            X,
            ShapeError,
            "deep: inner: dense: kernel has shape (4, 6), expected (in, 3)",
        ),
    ],
)
def test_a_call_that_does_not_fit_is_refused_by_name(
    params: Any, x: Array, error: type[Exception], message: str
) -> None:
    for call in (MODEL.forward, MODEL.vjp):
        with pytest.raises(error, match="^" + re.escape(message)):
            call(params, {}, x)


def np_abs(x: Array) -> Array:
    return np.abs(x)


def test_more_is_refused() -> None:
    with pytest.raises(TreeError, match=re.escape("state has keys ['mean'], expected names")):
        MODEL.forward(PARAMS, {"mean": X}, X)
    with pytest.raises(ShapeError, match=re.escape("dense: x has shape (4,), expected (batch, ")):
        dense(6).forward(PARAMS["hidden"], {}, np.ones(4, np.float32))
    integers = {"kernel": np.ones((4, 6), int), "bias": np.ones(6, int)}
    with pytest.raises(DtypeError, match="dense: x has dtype int64, expected a floating dtype"):
        dense(6).forward(integers, {}, np.ones((5, 4), int))
    with pytest.raises(DomainError, match="dense: features is 0, expected at least 1"):
        dense(0)
    with pytest.raises(ShapeError, match=re.escape("a: dense: input_shape is (), expected")):
        serial(a=dense(1)).init(KEY, ())
    with pytest.raises(DomainError, match="serial: no layers"):
        serial()
    with pytest.raises(TypeError):
        serial(act=ops.activations.relu)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="aproximate"):
        layers.activation(ops.activations.gelu, aproximate=False)
    with pytest.raises(DomainError, match=r"np_abs has no derivative: .*np_abs_vjp does not e"):
        layers.activation(np_abs)


def test_a_residual_keeps_its_shape() -> None:
    model = serial(block=residual(dense(3)))
    message = re.escape("block: residual: the layer turns shape (2,) into (3,)")
    with pytest.raises(ShapeError, match=message):
        model.init(KEY, (2,))
    params, _, _ = dense(3).init(KEY, (2,))
    for call in (model.forward, model.vjp):
        with pytest.raises(ShapeError, match=r"turns shape \(4, 2\) into \(4, 3\)"):
            call({"block": params}, {}, np.ones((4, 2), np.float32))


@pytest.mark.parametrize(
    ("dy", "error", "message"),
    [
        (np.ones((5, 1), np.float32), ShapeError, "dy has shape (5, 1), expected that of y"),
        (np.ones((5, 3)), DtypeError, "dy has dtype float64, expected that of y, float32"),
    ],
)
def test_a_cotangent_that_does_not_fit_is_refused(
    dy: Array, error: type[Exception], message: str
) -> None:
    _, pullback, _ = MODEL.vjp(PARAMS, {}, X)
    with pytest.raises(error, match=re.escape(f"deep: inner: dense: {message}")):
        pullback(dy)
    _, pullback, _ = relu.vjp({}, {}, X[:, 0, 0:1].repeat(3, 1))
    with pytest.raises(error, match=re.escape(f"relu: {message}")):
        pullback(dy)


def test_what_newcomers_write_is_refused_with_a_hint() -> None:
    with pytest.raises(TypeError, match=r"serial: a layer has no name; write serial\(hidden="):
        serial(dense(3))
    with pytest.raises(DtypeError, match=r"dense: features is 2.5, expected an int"):
        inspect.unwrap(dense)(2.5)
    model = serial(out=dense(3))
    with pytest.raises(TreeError, match="params is a NoneType, expected a dict"):
        inspect.unwrap(model.forward)(None, {}, np.ones((2, 2)))


def test_a_residual_sum_overflows_without_a_warning() -> None:
    big = np.full((1, 1), 60000, np.float16)
    y, pullback, _ = residual(relu).vjp({}, {}, big)
    assert y == pullback(big)[1] == np.inf


@pytest.mark.parametrize("wrong", [64, None, (-1,), (2.0,), [4]])
@pytest.mark.parametrize("layer", [dense(2), relu, flatten, layers.embedding(3, 2)])
def test_an_input_shape_that_is_none_is_refused(layer: Layer, wrong: Any) -> None:
    with pytest.raises(ShapeError, match=r"^\w+: input_shape is .*, expected a tuple of sizes ≥ 0"):
        inspect.unwrap(layer.init)(KEY, wrong)
