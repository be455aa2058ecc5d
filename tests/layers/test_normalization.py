from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from purenn import layers, random, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import normalization
from purenn.typing import Array

KEY = random.key(0)
untyped: Any = layers
PAIRS = [
    (layers.layer_norm(), nn.LayerNorm(param_dtype=jnp.float64)),
    (layers.rms_norm(epsilon=0.1), nn.RMSNorm(epsilon=0.1, param_dtype=jnp.float64)),
    (layers.group_norm(2), nn.GroupNorm(2, param_dtype=jnp.float64)),
    (layers.instance_norm(), nn.InstanceNorm(param_dtype=jnp.float64)),
]
NAMES = ["layer_norm", "rms_norm", "group_norm", "instance_norm"]


def numbers(like: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return tree.map(lambda leaf: np.asarray(rng.normal(size=leaf.shape), leaf.dtype), like)


def assert_close(ours: Any, theirs: Any) -> None:
    theirs = jax.tree.map(np.asarray, theirs)
    assert [path for path, _ in tree.leaves_with_paths(ours)] == [
        path for path, _ in tree.leaves_with_paths(theirs)
    ]
    for a, b in zip(tree.leaves(ours), tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("layer", "module"), PAIRS, ids=NAMES)
def test_parameters_values_and_cotangents_are_those_of_flax(layer: Any, module: Any) -> None:
    x, dy = numbers(np.zeros((3, 2, 2, 4)), 0), numbers(np.zeros((3, 2, 2, 4)), 1)
    params, state, shape = layer.init(KEY, (2, 2, 4), np.float64)
    assert (state, shape) == ({}, (2, 2, 4))
    assert_close(params, module.init(jax.random.key(0), x)["params"])
    params = numbers(params, 2)
    y, pullback, new_state = layer.vjp(params, state, x)
    assert new_state == {}

    @jax.jit
    def both() -> Any:
        y, pullback = jax.vjp(lambda params, x: module.apply({"params": params}, x), params, x)
        return y, pullback(dy)

    assert_close((y, pullback(dy)), both())
    np.testing.assert_array_equal(layer.forward(params, state, x), y)
    dparams, no_dx = pullback(dy, input_cotangent=False)
    assert no_dx is None
    tree.map(np.testing.assert_array_equal, dparams, pullback(dy)[0])


@pytest.mark.parametrize("momentum", [0.99, 0.5])
def test_running_statistics_over_several_steps_are_those_of_flax(momentum: float) -> None:
    layer = layers.batch_norm(momentum=momentum, epsilon=0.01)
    module = nn.BatchNorm(momentum=momentum, epsilon=0.01, use_fast_variance=False)
    module = module.clone(param_dtype=jnp.float64, force_float32_reductions=False)
    params, state, shape = layer.init(KEY, (2, 3), np.float64)
    assert shape == (2, 3)
    start = module.init(jax.random.key(0), np.ones((1, 2, 3)), use_running_average=False)
    assert_close({"params": params, "batch_stats": state}, start)
    params = numbers(params, 1)

    @jax.jit
    def train(stats: Any, x: Any, dy: Any) -> Any:
        def apply(params: Any, x: Any) -> Any:
            variables = {"params": params, "batch_stats": stats}
            return module.apply(variables, x, use_running_average=False, mutable=["batch_stats"])

        y, pullback, stats = jax.vjp(apply, params, x, has_aux=True)
        return y, pullback(dy), stats["batch_stats"]

    stats: Any = state
    for step in range(4):
        x, dy = (numbers(np.zeros((5, 2, 3)), 10 * step + i) + 2 for i in range(2))
        before = tree.map(np.copy, state)
        y, pullback, new_state = layer.vjp(params, state, x)
        dparams, dx = pullback(dy)
        theirs, (their_dparams, their_dx), stats = train(stats, x, dy)
        assert_close((y, dparams, dx, new_state), (theirs, their_dparams, their_dx, stats))
        tree.map(np.testing.assert_array_equal, state, before)
        assert pullback(dy, input_cotangent=False)[1] is None
        state = new_state
    variables = {"params": params, "batch_stats": stats}
    assert_close(
        layer.forward(params, state, x), module.apply(variables, x, use_running_average=True)
    )


def test_an_empty_batch_teaches_nothing() -> None:
    layer = layers.batch_norm()
    params, state, _ = layer.init(KEY, (3,))
    y, pullback, new_state = layer.vjp(params, state, np.ones((0, 3), np.float32))
    assert y.shape == (0, 3)
    tree.map(np.testing.assert_array_equal, new_state, state)
    tree.map(np.testing.assert_array_equal, pullback(y)[0], tree.map(np.zeros_like, params))


def test_a_variance_beyond_float32_is_infinite_as_in_flax() -> None:
    x = np.array([[1e30], [-1e30]], np.float32)
    layer = layers.batch_norm()
    params, state, _ = layer.init(KEY, (1,))
    y, _, state = layer.vjp({**params, "bias": np.ones(1, np.float32)}, state, x)
    np.testing.assert_array_equal(y, [[2], [0]])
    np.testing.assert_array_equal(state["var"], [np.inf])
    np.testing.assert_array_equal(layer.forward(params, state, x), np.zeros((2, 1)))


def test_state_goes_through_a_model() -> None:
    model = layers.serial(
        a=layers.dense(4), b=layers.residual(layers.batch_norm()), c=layers.layer_norm()
    )
    params, state, _ = model.init(KEY, (3,))
    assert [*params] == ["a", "b", "c"]
    assert [*state] == ["b"]
    x: Array = np.asarray(numbers(np.zeros((6, 3)), 0), np.float32)
    _, _, new_state = model.vjp(params, state, x)
    hidden = x @ params["a"]["kernel"]
    np.testing.assert_allclose(new_state["b"]["mean"], 0.01 * hidden.mean(0), rtol=1e-5)
    np.testing.assert_allclose(new_state["b"]["var"], 0.99 + 0.01 * hidden.var(0), rtol=1e-5)


def test_local_response_norm_is_the_rule() -> None:
    static: Any = {"size": 3, "alpha": 0.5, "beta": 0.5, "k": 2.0, "divide_by_size": False}
    layer = layers.local_response_norm(**static)
    assert layer.init(KEY, (2, 5)) == ({}, {}, (2, 5))
    x, dy = numbers(np.zeros((3, 2, 5)), 0), numbers(np.zeros((3, 2, 5)), 1)
    y, pullback, _ = layer.vjp({}, {}, x)
    expected, expected_pullback = normalization.local_response_norm_vjp(x, **static)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(pullback(dy)[1], expected_pullback(dy)[0])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_dtype_is_kept_and_statistics_have_at_least_float32(dtype: Any) -> None:
    model = layers.serial(
        a=layers.batch_norm(), b=layers.layer_norm(), c=layers.rms_norm(), d=layers.group_norm(2)
    )
    params, state, _ = model.init(KEY, (4,), dtype)
    x = np.linspace(-2, 3, 12).reshape(3, 4).astype(dtype)
    y, pullback, new_state = model.vjp(params, state, x)
    assert {leaf.dtype for leaf in tree.leaves((params, y, *pullback(y)))} == {np.dtype(dtype)}
    wide = np.dtype(np.float64 if dtype is np.float64 else np.float32)
    assert {leaf.dtype for leaf in tree.leaves((state, new_state))} == {wide}


@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((2, 3), np.float32)
    with pytest.raises(DomainError, match=r"momentum is 1\.5, expected a finite number ≥ 0 and ≤"):
        layers.batch_norm(momentum=1.5)
    with pytest.raises(DomainError, match=r"layer_norm: epsilon is -1\.0, expected a finite"):
        layers.layer_norm(epsilon=-1.0)
    with pytest.raises(DomainError, match="group_norm: num_groups is 0, expected at least 1"):
        layers.group_norm(0)
    with pytest.raises(ShapeError, match="group_norm: num_groups is 2, expected a divisor of 3"):
        layers.group_norm(2).init(KEY, (3,))
    with pytest.raises(DomainError, match="local_response_norm: size is 0, expected at least 1"):
        layers.local_response_norm(size=0)
    with pytest.raises(ShapeError, match=r"rms_norm: input_shape is \(\)"):
        layers.rms_norm().init(KEY, ())
    layer = layers.batch_norm()
    params, state, _ = layer.init(KEY, (3,))
    with pytest.raises(TreeError, match=r"batch_norm: params has keys \['scale'\], expected"):
        layer.forward({"scale": params["scale"]}, state, x)
    with pytest.raises(TreeError, match=r"batch_norm: state has keys \[\], expected \['mean', 'v"):
        layer.vjp(params, {}, x)
    with pytest.raises(ShapeError, match=r"scale has shape \(3,\), expected \(4,\) for x with 4"):
        layer.forward(params, state, np.ones((2, 4), np.float32))
    with pytest.raises(ShapeError, match=r"batch_norm: x has shape \(3,\), expected \(batch, "):
        layer.forward(params, state, x[0])
    with pytest.raises(DtypeError, match="batch_norm: scale has dtype float32 and x float64"):
        layer.forward(params, state, x.astype(np.float64))
    for var in (-1.0, np.nan):
        with pytest.raises(DomainError, match=r"batch_norm: var\[0\] is (-1.0|nan), expected ≥ 0"):
            layer.forward(params, {**state, "var": np.full(3, var, np.float32)}, x)
    _, pullback, _ = layer.vjp(params, state, x)
    with pytest.raises(ShapeError, match=r"batch_norm: dy has shape \(1, 3\)"):
        pullback(x[:1])


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: untyped.layer_norm(None), "layer_norm: epsilon is None, expected a number"),
        (lambda: untyped.batch_norm("1"), "batch_norm: momentum is '1', expected a number"),
        (lambda: untyped.group_norm(2.0), "group_norm: num_groups is 2.0, expected an int"),
        (lambda: untyped.local_response_norm(beta=None), "beta is None, expected a number"),
        (lambda: layers.batch_norm().init(KEY, (3,), np.int32), "batch_norm: dtype is int32, exp"),
        (lambda: layers.layer_norm().init(KEY, (3,), complex), "layer_norm: dtype is complex128"),
        (lambda: layers.layer_norm().init(KEY, (3,), "foo"), "layer_norm: dtype is 'foo'"),
    ],
)
def test_what_is_no_number_is_refused_when_the_layer_is_made(make: Any, message: str) -> None:
    with pytest.raises(DtypeError, match=message):
        make()


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("shape", [3, None, (-1,), (2.0,)])
@pytest.mark.parametrize("layer", [layers.batch_norm(), layers.rms_norm()])
def test_what_is_no_shape_is_refused(layer: Any, shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"_norm: input_shape is .*, expected a tuple of sizes"):
        layer.init(KEY, shape)
