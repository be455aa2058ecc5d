"""What layers made of layers refuse, and by which names."""

import inspect
import re
from typing import Any

import numpy as np
import pytest

from purenn import layers, ops, random
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.layers import Layer, dense, flatten, relu, residual, serial
from purenn.typing import Array

KEY = random.key(0)
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
