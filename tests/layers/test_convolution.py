from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn import layers, random
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import _convolution, _correlation
from purenn.typing import Array

KEY = random.key(0)

# (layer, Flax's, input, features, kernel size, options)
LAYERS: list[tuple[str, Any, tuple[int, ...], int, Any, dict[str, Any]]] = [
    ("conv", nn.Conv, (7, 2), 3, 3, {}),
    ("conv", nn.Conv, (6, 5, 3), 4, (3, 2), {"strides": 2, "padding": "VALID", "use_bias": False}),
    ("conv", nn.Conv, (5, 5, 4), 4, (3, 3), {"feature_group_count": 2, "padding": (1, (0, 2))}),
    (
        "conv",
        nn.Conv,
        (4, 5, 2),
        3,
        (2, 3),
        {"input_dilation": (1, 2), "kernel_dilation": 2, "padding": 2},
    ),
    ("conv", nn.Conv, (3, 4, 3, 1), 2, (2, 2, 2), {"strides": (1, 2, 1)}),
    ("conv_transpose", nn.ConvTranspose, (4, 2), 3, 3, {"strides": (2,)}),
    (
        "conv_transpose",
        nn.ConvTranspose,
        (3, 4, 2),
        3,
        (2, 3),
        {"strides": (2, 1), "padding": "VALID", "transpose_kernel": True, "use_bias": False},
    ),
    (
        "conv_transpose",
        nn.ConvTranspose,
        (3, 3, 2),
        1,
        (3, 3),
        {"strides": (2, 2), "padding": 1, "kernel_dilation": (1, 2)},
    ),
]


@pytest.mark.parametrize(("name", "flax", "shape", "features", "size", "options"), LAYERS)
def test_layers_are_those_of_flax(
    name: str, flax: Any, shape: tuple[int, ...], features: int, size: Any, options: dict[str, Any]
) -> None:
    layer = getattr(layers, name)(features, size, **options)
    params, state, output_shape = layer.init(KEY, shape, np.float64)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *shape))
    params = {leaf: rng.normal(size=value.shape) for leaf, value in params.items()}
    module = flax(features, size, param_dtype=jnp.float64, **options)
    assert jax.tree.map(np.shape, params) == jax.tree.map(
        np.shape, jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    )
    assert state == {}

    y, pullback, _ = layer.vjp(params, state, x)
    assert y.shape == (2, *output_shape)
    np.testing.assert_array_equal(layer.forward(params, state, x), y)
    expected, their_pullback = jax.vjp(lambda p, x: module.apply({"params": p}, x), params, x)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
    dy = rng.normal(size=y.shape)
    expected_params, expected_x = their_pullback(jnp.asarray(dy))
    dparams, dx = pullback(dy)
    assert dparams.keys() == params.keys()
    for leaf, value in dparams.items():
        np.testing.assert_allclose(value, expected_params[leaf], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(dx, expected_x, rtol=1e-12, atol=1e-12)

    again, no_dx = pullback(dy, input_cotangent=False)
    assert no_dx is None
    for leaf, value in dparams.items():
        np.testing.assert_array_equal(again[leaf], value)


def test_no_work_is_spent_on_an_input_cotangent_that_nobody_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = layers.serial(first=layers.conv(2, 3), act=layers.relu, second=layers.conv(1, 3))
    params, state, _ = model.init(KEY, (5, 1))
    calls = []
    actual = _correlation.input_cotangent

    def counted(kernel: Array, dy: Array, plan: Any) -> Array:
        calls.append(kernel.shape)
        return actual(kernel, dy, plan)

    monkeypatch.setattr(_convolution, "input_cotangent", counted)
    y, pullback, _ = model.vjp(params, state, np.ones((2, 5, 1), np.float32))
    pullback(y, input_cotangent=False)
    assert calls == [(3, 2, 1)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_is_kept_and_nothing_is_a_batch(dtype: Any) -> None:
    model = layers.serial(down=layers.conv(2, (2, 2)), up=layers.conv_transpose(1, (2, 2)))
    params, state, shape = model.init(KEY, (4, 4, 1), dtype)
    assert shape == (4, 4, 1)
    for batch in (0, 2):
        y, pullback, _ = model.vjp(params, state, np.ones((batch, 4, 4, 1), dtype))
        dparams, dx = pullback(y)
        assert {leaf.dtype for leaf in jax.tree.leaves((dparams, dx, y))} == {np.dtype(dtype)}
        total = np.sum(y, dtype=np.float64)
        np.testing.assert_allclose(dparams["up"]["bias"], total, rtol=2 * np.finfo(dtype).eps)


def test_a_bias_is_summed_without_losing_its_digits() -> None:
    # One by one, float32 stops counting thirds well before 2^20 of them.
    layer = layers.conv(1, (1, 1))
    params, state, _ = layer.init(KEY, (256, 256, 1))
    y, pullback, _ = layer.vjp(params, state, np.ones((16, 256, 256, 1), np.float32))
    dparams, _ = pullback(np.full_like(y, 1 / 3), input_cotangent=False)
    np.testing.assert_allclose(dparams["bias"], 2**20 * np.float64(np.float32(1 / 3)), rtol=1e-6)


@pytest.mark.parametrize("make", [layers.conv, layers.conv_transpose])
def test_the_bias_is_added_before_the_sum_is_rounded_to_half_precision(make: Any) -> None:
    layer = make(1, 1)
    x, kernel = np.array([[[2048, 1]]], np.float16), np.ones((1, 2, 1), np.float16)
    params = {"kernel": kernel, "bias": np.ones(1, np.float16)}
    y, _, _ = layer.vjp(params, {}, x)
    assert y == layer.forward(params, {}, x) == 2050  # 2048 + 1 is 2048 in half precision


def test_an_infinite_bias_sum_comes_without_a_warning() -> None:
    layer = layers.conv(1, 1)
    big = np.full((1, 2, 1), 3e38, np.float32)
    y, pullback, _ = layer.vjp({"kernel": big[:, :1], "bias": big[0, 0]}, {}, big)
    assert (y == np.inf).all()
    assert pullback(big)[0]["bias"] == np.inf


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.conv(0, 3), DomainError, "conv: features is 0, expected at least 1"),
        (lambda: layers.conv(2, (3, 0)), DomainError, "conv: kernel_size is 0, expected"),
        (lambda: layers.conv(2, 3, strides=(1, 2)), ShapeError, r"conv: strides is \(1, 2\)"),
        (lambda: layers.conv(2, 3, strides=0), DomainError, "conv: strides is 0, expected at"),
        (lambda: layers.conv(2, ()), ShapeError, r"conv: kernel_size is \(\), expected"),
        (lambda: layers.conv(2, 3, padding="FOO"), DomainError, "conv: padding is 'FOO'"),
        (lambda: layers.conv(3, 3, feature_group_count=2), ShapeError, "a divisor of out = 3"),
        (lambda: layers.conv_transpose(2, 3, padding="FOO"), DomainError, "padding is 'FOO'"),
        (lambda: layers.conv(2, 3, kernel_dilation=-1), DomainError, "kernel_dilation is -1"),
        (lambda: layers.conv(2, 3, input_dilation=0), DomainError, "input_dilation is 0"),
        (lambda: layers.conv(2, 3, feature_group_count=0), DomainError, "group_count is 0"),
        (lambda: layers.conv_transpose(2, 3, strides=0), DomainError, "transpose: strides is 0"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("shape", "options", "error", "message"),
    [
        ((5, 1), {}, ShapeError, r"conv: input_shape is \(5, 1\), expected \(_, _, in\)"),
        ((5, 2, 1), {"padding": "VALID"}, ShapeError, r"window has shape \(3, 3\)"),
        ((5, 5, 3), {"feature_group_count": 2}, ShapeError, "expected a divisor of in = 3"),
        ((5, 5, -1), {}, ShapeError, "input_shape is .*, expected a tuple of sizes ≥ 0"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_beginning(
    shape: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"first: conv: .*{message}|first: {message}"):
        layers.serial(first=layers.conv(2, (3, 3), **options)).init(KEY, shape)


def test_what_does_not_fit_is_refused_by_name() -> None:
    layer = layers.serial(first=layers.conv(2, (3, 3)))
    params, state, _ = layer.init(KEY, (5, 5, 1))
    kernel, bias = params["first"]["kernel"], params["first"]["bias"]
    x = np.ones((2, 5, 5, 1), np.float32)

    def refused(params: Any, x: Any, error: type[Exception], message: str) -> None:
        for f in (layer.forward, layer.vjp):
            with pytest.raises(error, match=f"first: conv: {message}"):
                f({"first": params}, state, x)

    refused({"kernel": kernel}, x, TreeError, r"params has keys \['kernel'\], expected")
    refused({}, x, TreeError, r"params has keys \[\], expected \['kernel', 'bias'\]")
    refused({"kernel": kernel[:2], "bias": bias}, x, ShapeError, r'params\["kernel"\] has shape')
    refused({"kernel": kernel, "bias": bias[:1]}, x, ShapeError, r'params\["bias"\] has shape')
    refused(params["first"], x[0], ShapeError, r"x has shape \(5, 5, 1\), which is of rank 3")
    refused(params["first"], np.ones((2, 5, 5, 3), np.float32), ShapeError, r".*\(3, 3, 3, 2\)")
    refused(params["first"], x.astype(np.float64), DtypeError, "params.* has dtype float32 and x")
    _, pullback, _ = layer.vjp(params, state, x)
    with pytest.raises(ShapeError, match="first: conv: dy has shape"):
        pullback(x)
