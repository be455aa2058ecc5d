"""Right gradients pass, in any dtype, and wrong ones are named: where, and by how much."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purenn import random, tree
from purenn.layers import batch_norm, dense, relu, residual, serial, tanh
from purenn.ops import losses
from purenn.training import objective
from purenn.typing import Array
from purenn.verify.examine import DerivativeError
from purenn.verify.gradient import check_gradient

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.normal(size=(32, 4)), RNG.integers(0, 2, 32)
BATCH = INPUTS, LABELS
START = {"bias": np.array(0.3), "kernel": RNG.normal(size=4)}
DECAY = 0.1


def logistic_loss(params: Any, batch: Any) -> Any:
    """The mean over the batch, and L2 for the kernel."""
    inputs, labels = batch
    logits = inputs @ params["kernel"] + params["bias"]
    fit = np.mean(np.logaddexp(0, logits) - labels * logits)
    return fit + DECAY / 2 * np.sum(params["kernel"] ** 2)


def logistic_grad(params: Any, batch: Any) -> Any:
    inputs, labels = batch
    logits = inputs @ params["kernel"] + params["bias"]
    dlogits = (1 / (1 + np.exp(-logits)) - labels) / len(labels)
    kernel = inputs.T @ dlogits + DECAY * params["kernel"]
    return {"bias": np.asarray(np.sum(dlogits), kernel.dtype), "kernel": kernel}


def times(by: float, grads: Any) -> Any:
    return jax.tree.map(lambda g: (g * by).astype(g.dtype), grads)


def scaled(by: float) -> Callable[..., Any]:
    return lambda params, batch: times(by, logistic_grad(params, batch))


def test_a_right_gradient_passes() -> None:
    report = check_gradient(logistic_grad, logistic_loss, START, BATCH)
    assert report.verdict == "pass"
    assert report.relative_error < 1e-9
    assert report.undecided == 0
    assert report.decided == 8
    assert report.slope == pytest.approx(2, abs=0.05)
    assert re.fullmatch(
        r"pass: 8 derivatives compared, 0 undecided; Taylor slope 2.0\d; worst at params.*: "
        r"got .*, expected .* ± .*, relative error .*",
        str(report),
    )


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (
            1 / 32,
            "0.03125 times the derivative of the loss: 0.03125 = 1/32, the size of the batch's",
        ),
        (32, "32 times the derivative of the loss: 32 = 32, the size of the batch's first axis"),
        (2, "2 times the derivative of the loss: 2 = 2"),
        (0.5, "0.5 times the derivative of the loss: 0.5 = 1/2"),
        (-1, "-1 times the derivative of the loss: -1 = the sign"),
        (1.1, "1.1 times the derivative of the loss$"),
        (0, "0 times the derivative of the loss$"),
    ],
)
def test_a_common_factor_is_told(factor: float, told: str) -> None:
    with pytest.raises(DerivativeError, match=f"the gradient is {told}") as caught:
        check_gradient(scaled(factor), logistic_loss, START, BATCH)
    assert "Taylor slope 1.0" in str(caught.value)


@given(st.floats(-25, 25), st.floats(1.0001, 1e3))
@settings(max_examples=20)
def test_no_unit_hides_a_factor(exponent: float, factor: float) -> None:
    unit = 10.0**exponent

    def loss(params: Any, batch: Any) -> Any:
        return unit * logistic_loss(params, batch)

    assert check_gradient(scaled(unit), loss, START, BATCH).verdict == "pass"
    with pytest.raises(DerivativeError, match="times the derivative of the loss"):
        check_gradient(scaled(unit * factor), loss, START, BATCH)


SMOOTH = serial(hidden=dense(4), act=tanh, out=residual(dense(4)))
KINKED = serial(hidden=dense(9), act=relu, out=dense(4))
CLASSES = RNG.normal(size=(8, 4)), RNG.integers(0, 4, 8)


@pytest.mark.parametrize(
    ("model", "dtype"), [(SMOOTH, np.float32), (KINKED, np.float16), (KINKED, np.float64)]
)
def test_right_gradients_of_models_pass(unannotated: None, model: Any, dtype: Any) -> None:
    ours = objective(model, losses.softmax_cross_entropy_with_integer_labels)
    params, state, _ = model.init(random.key(0), (4,), dtype)
    report = check_gradient(
        lambda params, batch: ours.grad(params, state, batch),
        lambda params, batch: ours.loss(params, state, batch),
        params,
        (CLASSES[0].astype(dtype), CLASSES[1]),
        entries=2,
    )
    assert report.verdict == "pass"
    assert report.undecided == 0


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float32])
def test_right_gradients_by_jax_pass(dtype: Any) -> None:
    def loss(params: Any, x: Any) -> Any:
        return jnp.mean((jax.nn.relu(x @ params["in"]) @ params["out"]) ** 2)

    params = {"in": jnp.asarray(RNG.normal(size=(4, 9)), dtype), "out": jnp.ones((9, 1), dtype)}
    batch = jnp.asarray(CLASSES[0], dtype)
    compiled, grad = jax.jit(loss), jax.jit(jax.grad(loss))
    assert check_gradient(grad, compiled, params, batch).verdict == "pass"
    with pytest.raises(DerivativeError, match="is 2 times the derivative of the loss"):
        check_gradient(lambda *args: times(2, grad(*args)), compiled, params, batch)


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=20)
def test_kinks_do_not_accuse(seed: int, at_kinks: bool) -> None:
    rng = np.random.default_rng(seed)
    params = {"in": rng.normal(size=(4, 9)), "out": rng.normal(size=9)}
    x = rng.normal(size=(8, 4))
    if at_kinks:
        params["in"][:, ::3] = 0

    def loss(params: Any) -> Any:
        return np.mean(np.maximum(x @ params["in"], 0) @ params["out"])

    def grad(params: Any) -> Any:
        hidden = x @ params["in"]
        dhidden = (hidden > 0) * params["out"] / len(x)
        return {"in": x.T @ dhidden, "out": np.mean(np.maximum(hidden, 0), axis=0)}

    report = check_gradient(grad, loss, params, seed=seed)
    assert report.verdict == "pass"
    assert at_kinks == (report.undecided > 0)


def mlp_loss(params: Any, x: Array) -> Any:
    hidden = np.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return np.mean((hidden @ params["out"]["kernel"] + params["out"]["bias"]) ** 2) / 2


def mlp_grad(params: Any, x: Array) -> Any:
    hidden = np.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    dy = (hidden @ params["out"]["kernel"] + params["out"]["bias"]) / x.dtype.type(x.size)
    dhidden = (dy @ params["out"]["kernel"].T) * (1 - hidden**2)
    return {
        "hidden": {"bias": np.sum(dhidden, axis=0), "kernel": x.T @ dhidden},
        "out": {"bias": np.sum(dy, axis=0), "kernel": hidden.T @ dy},
    }


def one_entry(g: Array) -> Array:
    wrong = g.copy()
    wrong[3, 1] *= 1.01
    return wrong


@pytest.mark.parametrize(
    ("path", "change", "where"),
    [
        (("hidden", "kernel"), lambda g: 0 * g, r'params\["hidden"\]\["kernel"\]\[\d, \d\]'),
        (("hidden", "kernel"), one_entry, r'params\["hidden"\]\["kernel"\]\[3, 1\]'),
        (("out", "kernel"), np.transpose, r'params\["out"\]\["kernel"\]\[\d, \d\]'),
        (("out", "bias"), lambda g: -g, r'params\["out"\]\["bias"\]\[\d\]'),
        (("out", "bias"), lambda g: g[::-1], r'params\["out"\]\["bias"\]\[\d\]'),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_wrong_is_named(path: Any, change: Any, where: str, dtype: Any) -> None:
    def grad(params: Any, x: Array) -> Any:
        return tree.map_with_path(
            lambda at, g: np.asarray(change(g)) if at == path else g, mlp_grad(params, x)
        )

    def layer() -> Any:
        return {"kernel": RNG.normal(size=(4, 4)), "bias": RNG.normal(size=4)}

    params = tree.map(lambda x: x.astype(dtype), {"hidden": layer(), "out": layer()})
    x = CLASSES[0].astype(dtype)
    assert check_gradient(mlp_grad, mlp_loss, params, x).verdict == "pass"
    with pytest.raises(DerivativeError, match=rf"{where}: got .*, expected .* ± .*; Taylor") as got:
        check_gradient(grad, mlp_loss, params, x)
    assert "times the derivative" not in str(got.value)


def test_one_wrong_entry_among_many_is_found() -> None:
    params = [{"x": RNG.normal(size=(40, 50))}]

    def grad(params: Any) -> Any:
        g = np.cos(params[0]["x"])
        g[17, 31] *= 1.1
        return [{"x": g}]

    message = r'params\[0\]\["x"\]\[17, 31\]: got'
    with pytest.raises(DerivativeError, match=message):
        check_gradient(grad, lambda params: np.sum(np.sin(params[0]["x"])), params)


def test_a_missing_term_of_the_loss_is_found() -> None:
    def grad(params: Any, batch: Any) -> Any:
        g = logistic_grad(params, batch)
        return g | {"kernel": g["kernel"] - DECAY * params["kernel"]}

    with pytest.raises(DerivativeError, match=r'params\["kernel"\]\[\d\]: got'):
        check_gradient(grad, logistic_loss, START, BATCH)


class Weights(NamedTuple):
    kernel: Any
    rest: tuple[Any, ...]


def test_any_tree_of_numpy_or_jax_arrays() -> None:
    params = Weights(jnp.ones((2, 2), jnp.float32), (np.array([0.5, 2.0]), {}, [np.float32(3)]))

    def loss(params: Any) -> Any:
        return jnp.sum(params.kernel**3) * params.rest[2][0] + np.sum(params.rest[0] ** 2)

    def grad(params: Any) -> Any:
        k, (a, _, (b,)) = params
        return Weights(3 * k**2 * b, (2 * a, {}, [jnp.sum(k**3, dtype=np.float32)]))

    assert check_gradient(grad, loss, params).verdict == "pass"
    with pytest.raises(DerivativeError, match=r"params\.rest\[0\]\[1\]: got 8, expected 4 ±"):
        check_gradient(
            lambda params: grad(params)._replace(
                rest=(2 * params.rest[0] ** 2, {}, [params[1][2][0]])
            ),
            loss,
            params,
        )


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        (lambda g: {"kernel": g["kernel"]}, 'the gradient has no params["bias"]'),
        (lambda g: g | {"b": 1.0}, 'the gradient has params["b"], which the parameters have not'),
        (lambda g: list(g.values()), 'the gradient has no params["bias"]'),
        (
            lambda g: g | {"bias": 1.0},
            'the gradient of params["bias"] has dtype float, expected fl',
        ),
        (
            lambda g: g | {"kernel": g["kernel"][None].T},
            'the gradient of params["kernel"] has shape (4, 1), expected (4,)',
        ),
        (
            lambda g: g | {"kernel": g["kernel"].astype(np.float32)},
            'the gradient of params["kernel"] has dtype float32, expected float64',
        ),
        (
            lambda g: g | {"kernel": g["kernel"] / [1, 0, 1, 1]},
            'the gradient of params["kernel"][1] is ',
        ),
    ],
)
def test_what_does_not_look_like_the_parameters_is_refused(grad: Any, message: str) -> None:
    with np.errstate(all="ignore"), pytest.raises(DerivativeError, match=re.escape(message)):
        check_gradient(lambda *args: grad(logistic_grad(*args)), logistic_loss, START, BATCH)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r'params\["step"\] is int64, expected an array of a float'):
        check_gradient(logistic_grad, logistic_loss, START | {"step": np.array(1)}, BATCH)
    with pytest.raises(ValueError, match=r"loss is float64 of shape \(4,\), expected a real"):
        check_gradient(logistic_grad, lambda params, batch: params["kernel"], START, BATCH)
    with pytest.raises(KeyError, match="nothing"):
        check_gradient(logistic_grad, lambda params, batch: params["nothing"], START, BATCH)


def test_what_the_loss_does_not_tell_is_undecided() -> None:
    def rough(params: Any) -> Any:
        value = np.sum(params["x"] ** 2)
        return value + 1e-2 * np.sin(1e15 * value)

    params = {"x": np.linspace(-1, 1, 5)}
    report = check_gradient(lambda params: {"x": 2 * params["x"]}, rough, params)
    assert report.verdict == "undecided"
    assert report.undecided > report.decided
    report = check_gradient(lambda params: params, lambda params: np.nan, params)
    assert report.verdict == "undecided"
    assert check_gradient(lambda params: {}, lambda params: 1.0, {}).verdict == "undecided"


def test_a_loss_that_stays_in_float32_is_checked_as_far_as_it_goes() -> None:
    def loss(params: Any, batch: Any) -> Any:
        single = jax.tree.map(lambda x: np.asarray(x, np.float32), (params, batch))
        return np.float32(logistic_loss(*single))

    def grad(params: Any, batch: Any) -> Any:
        return tree.map(lambda g: g.astype(np.float32), logistic_grad(params, batch))

    params = tree.map(lambda x: x.astype(np.float32), START)
    batch = INPUTS.astype(np.float32), LABELS
    assert check_gradient(grad, loss, params, batch).verdict == "pass"
    with pytest.raises(DerivativeError, match=r"0\.03125 = 1/32"):
        check_gradient(lambda *args: times(1 / 32, grad(*args)), loss, params, batch)


def test_a_loss_that_is_another_in_float64_is_checked_in_its_own_dtype() -> None:
    def noise(x: Any) -> Array:
        drawn = np.random.default_rng(x.dtype.itemsize).normal(size=x.shape)
        return np.asarray(drawn, x.dtype)

    params = {"x": np.array([0.5, 1.0, -2.0], np.float32)}
    report = check_gradient(
        lambda params: {"x": 2 * params["x"] * noise(params["x"])},
        lambda params: np.sum(params["x"] ** 2 * noise(params["x"])),
        params,
    )
    assert report.verdict == "pass"


def test_a_linear_loss_has_no_slope_and_a_dead_one_passes() -> None:
    params = {"x": np.ones(3)}
    report = check_gradient(lambda p: {"x": np.full(3, 2.0)}, lambda p: 2 * np.sum(p["x"]), params)
    assert report.verdict == "pass"
    assert np.isnan(report.slope)
    report = check_gradient(lambda p: {"x": np.zeros(3)}, lambda p: 0.7, params)
    assert report.verdict == "pass"


def test_the_same_seed_gives_the_same_report() -> None:
    first, again, other = (
        check_gradient(logistic_grad, logistic_loss, START, BATCH, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_bias_that_a_normalization_takes_away_may_keep_its_rounding(unannotated: None) -> None:
    model = serial(hidden=dense(6), norm=batch_norm(), act=relu, out=dense(3))
    its = objective(model, losses.softmax_cross_entropy_with_integer_labels)
    params, state, _ = model.init(random.key(1), (5,))
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(16, 5)).astype(np.float32), rng.integers(0, 3, 16)

    def check(change: Callable[[Any], Any]) -> None:
        check_gradient(
            lambda params, batch: change(its.grad(params, state, batch)),
            lambda params, batch: its.loss(params, state, batch),
            params,
            batch,
            entries=2,
        )

    check(lambda grads: grads)

    def with_a_mistake(grads: Any) -> Any:
        grads["hidden"]["bias"] = grads["hidden"]["bias"] + np.float32(1e-5)
        return grads

    with pytest.raises(DerivativeError, match=r'"hidden".*"bias"'):
        check(with_a_mistake)
