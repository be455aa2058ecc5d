"""The objective against ``jax.value_and_grad``, and the loop: pure, complete, resumable."""

import inspect
import re
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

import reference.layers
import reference.regularizers
import reference.training
from purenn import layers, random, regularizers, tree, verify
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.layers import dense, relu, residual, serial
from purenn.ops import _linear, losses
from purenn.optimizers import adam, sgd
from purenn.training import Objective, init_state, objective, train_step
from purenn.typing import Array
from reference.ops.losses.regression import squared_error as jax_squared_error

KEY = random.key(0)
MODEL = serial(hidden=dense(5), act=relu, block=residual(dense(5)), out=dense(3))
REFERENCE = reference.layers.serial(
    hidden=reference.layers.dense(5),
    act=reference.layers.relu,
    block=reference.layers.residual(reference.layers.dense(5)),
    out=reference.layers.dense(3),
)
REFERENCE_LOSSES: dict[str, Any] = {
    rule.name: rule.reference
    for rule in verify.discover("purenn.ops.losses", "reference.ops.losses")
}
INTEGER_LABELS = losses.softmax_cross_entropy_with_integer_labels


def frozen(x: Any) -> Any:
    """A tree whose arrays nobody can write to."""
    for leaf in tree.leaves(x):
        leaf.setflags(write=False)
    return x


def draw_batch(seed: int, size: int, loss: str, weighted: bool) -> Any:
    rng = np.random.default_rng(seed)
    targets = {
        "softmax_cross_entropy": rng.dirichlet(np.ones(3), size),
        "softmax_cross_entropy_with_integer_labels": rng.integers(0, 3, size),
        "sigmoid_binary_cross_entropy": rng.random((size, 3)),
        "squared_error": rng.normal(size=(size, 3)),
    }[loss]
    weights = np.maximum(rng.normal(size=size), 0)
    weights[0] = 1
    batch = rng.normal(size=(size, 4)), targets, weights
    return frozen(batch if weighted else batch[:2])


def agrees(ours: Objective, theirs: Any, params: Any, state: Any, batch: Any) -> None:
    """Loss and gradient are those that autodiff has of the reference."""
    (value, new_state), grads = ours.value_and_grad(frozen(params), state, batch)
    expected_value, expected_grads = jax.value_and_grad(theirs)(
        jax.tree.map(jnp.asarray, params), state, jax.tree.map(jnp.asarray, batch)
    )
    assert new_state == {}
    assert value.dtype == np.float64
    np.testing.assert_allclose(value, expected_value, rtol=1e-13)
    tree.map(
        lambda got, expected: np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-14),
        grads,
        jax.tree.map(np.asarray, expected_grads),
    )
    assert ours.loss(params, state, batch) == value
    tree.map(np.testing.assert_array_equal, ours.grad(params, state, batch), grads)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(
        [
            "softmax_cross_entropy",
            "softmax_cross_entropy_with_integer_labels",
            "sigmoid_binary_cross_entropy",
            "squared_error",
        ]
    ),
    st.sampled_from([1, 4]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_objective_is_that_of_the_reference(
    loss: str, size: int, weighted: bool, seed: int
) -> None:
    params, state, _ = MODEL.init(KEY, (4,), np.float64)
    batch = draw_batch(seed, size, loss, weighted)
    theirs = reference.training.objective(REFERENCE, REFERENCE_LOSSES[loss])
    agrees(objective(MODEL, getattr(losses, loss)), theirs, params, state, batch)


@pytest.mark.parametrize(("name", "scales"), [("l2", (0.1,)), ("elastic_net", (0.2, 0.3))])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_regularizer_adds_its_penalty(
    name: str, scales: tuple[float, ...], weighted: bool
) -> None:
    params, state, _ = MODEL.init(KEY, (4,), np.float64)
    params["hidden"]["kernel"][0] = 0
    batch = draw_batch(0, 4, "squared_error", weighted)
    ours = objective(MODEL, losses.squared_error, getattr(regularizers, name)(*scales))
    penalty = getattr(reference.regularizers, name)(*scales, where=regularizers.is_weight)
    theirs = reference.training.objective(REFERENCE, jax_squared_error, penalty)
    agrees(ours, theirs, params, state, batch)


def test_a_penalty_leaves_dtypes_and_shapes_as_they_are() -> None:
    optimizer, batch = sgd(0.1), (X, X[:, :3])
    start = init_state(MODEL, optimizer, KEY, (4,))
    plain = objective(MODEL, losses.squared_error)
    ours = objective(MODEL, losses.squared_error, regularizers.l2(0.1, where=lambda path: True))
    (value, _), grads = ours.value_and_grad(start.params, start.state, batch)
    assert value.dtype == np.float32
    assert value > plain.loss(start.params, start.state, batch)
    tree.check_like("grads", grads, start.params)
    assert train_step(ours, optimizer)(start, batch)[1]["loss"] == value


def test_equal_weights_change_nothing_and_weight_0_takes_an_example_out() -> None:
    params, state, _ = MODEL.init(KEY, (4,), np.float64)
    ours = objective(MODEL, losses.squared_error)
    inputs, targets = draw_batch(0, 4, "squared_error", weighted=False)
    plain = ours.loss(params, state, (inputs, targets))
    equal = ours.loss(params, state, (inputs, targets, np.full(4, 3.0)))
    np.testing.assert_allclose(equal, plain, rtol=1e-14)
    without = ours.loss(params, state, (inputs[1:], targets[1:]))
    zeroed = ours.loss(params, state, (inputs, targets, np.array([0.0, 1, 1, 1])))
    np.testing.assert_allclose(zeroed, without, rtol=1e-14)


def test_the_first_layer_computes_no_input_cotangent(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    compute = _linear.dense_input_cotangent

    def spy(kernel: Array, dy: Array) -> Array:
        seen.append(kernel.shape)
        return compute(kernel, dy)

    monkeypatch.setattr(_linear, "dense_input_cotangent", spy)
    params, state, _ = MODEL.init(KEY, (4,), np.float64)
    ours = objective(MODEL, losses.squared_error)
    ours.grad(params, state, draw_batch(0, 4, "squared_error", weighted=False))
    assert seen == [(5, 3), (5, 5)]


X = np.ones((4, 4), np.float32)
LABELS = np.array([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((X,), TreeError, "batch: got 1 parts, expected (inputs, targets) or (inputs, targets, w"),
        ((X, LABELS, X, X), TreeError, "batch: got 4 parts, expected (inputs, targets) or"),
        ((X, LABELS[:3]), ShapeError, "batch: targets has 3 examples and inputs 4"),
        ((X[:0], LABELS[:0]), ShapeError, "batch: inputs has shape (0, 4), which has no examples"),
        ((X, np.array(1)), ShapeError, "batch: targets has shape (), which has no examples"),
        ((X[:, :3], LABELS), ShapeError, "hidden: dense: x has 3 features, kernel expects 4"),
        ((X, LABELS + 1), DomainError, "labels[2] is 3, expected 0 to 2 (classes − 1)"),
        ((X, X), DtypeError, "labels has dtype float32, expected an integer dtype"),
        ((X, LABELS, X[:3, 0]), ShapeError, "batch: weights has 3 examples and inputs 4"),
        ((X, LABELS, X), ShapeError, "batch: weights have shape (4, 4), expected (4,)"),
        ((X, LABELS, np.ones(4)), DtypeError, "batch: weights have dtype float64 and inputs flo"),
        ((X, LABELS, LABELS), DtypeError, "batch: weights has dtype int64, expected a floating"),
        ((X, LABELS, 0 * X[0]), DomainError, "batch: weights are negative, all 0 or not finite"),
        ((X, LABELS, X[0] - [0, 0, 0, 2]), DtypeError, "batch: weights have dtype float64"),
        (
            (X, LABELS, np.array([1, 1, 1, -1], np.float32)),
            DomainError,
            "batch: weights are negative, all 0 or not finite",
        ),
        (
            (X, LABELS, np.array([1, 1, 1, np.nan], np.float32)),
            DomainError,
            "batch: weights are negative, all 0 or not finite",
        ),
        (
            (X, LABELS, np.array([1, 1, 1, np.inf], np.float32)),
            DomainError,
            "batch: weights are negative, all 0 or not finite",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    batch: Any, error: type[Exception], message: str
) -> None:
    ours = objective(MODEL, INTEGER_LABELS)
    before = init_state(MODEL, adam(0.1), KEY, (4,))
    for call in (ours.loss, ours.grad, ours.value_and_grad):
        with pytest.raises(error, match=re.escape(message)):
            call(before.params, before.state, batch)
    with pytest.raises(error, match=re.escape(message)):
        train_step(ours, adam(0.1))(before, batch)
    after = init_state(MODEL, adam(0.1), KEY, (4,))
    tree.map(np.testing.assert_array_equal, before, after)


def test_a_batch_that_is_no_array_is_refused() -> None:
    ours = objective(MODEL, INTEGER_LABELS)
    params, state, _ = MODEL.init(KEY, (4,))
    # The annotations say so too, and in these tests they are asked first.
    for batch in ((X, [0, 1, 2, 0]), X, None):
        with pytest.raises(TypeError):
            ours.loss(params, state, batch)


def test_losses_of_nothing_are_refused() -> None:
    ours = objective(layers.flatten, losses.squared_error)
    nothing = np.ones((3, 0))
    with pytest.raises(ShapeError, match=re.escape("the losses have shape (3, 0); nothing has no")):
        ours.loss({}, {}, (nothing, nothing))


def test_a_loss_without_a_derivative_is_refused() -> None:
    with pytest.raises(DomainError, match="draw_batch has no derivative"):
        objective(MODEL, draw_batch)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_sums_do_not_stagnate(dtype: type) -> None:
    count = 4096
    model = serial(out=dense(1))
    params: Any = {"out": {"kernel": np.zeros((1, 1), dtype), "bias": np.zeros(1, dtype)}}
    batch: Any = (np.ones((count, 1), dtype), np.ones((count, 1), dtype), np.ones(count, dtype))
    (loss, _), grads = objective(model, losses.squared_error).value_and_grad(params, {}, batch)
    assert float(loss) == 1
    assert float(grads["out"]["bias"][0]) == -2


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    model = serial(out=dense(2))
    loss = losses.squared_error
    with pytest.raises(DtypeError, match="objective: got a function and a Layer"):
        inspect.unwrap(objective)(loss, model)
    with pytest.raises(DtypeError, match="objective: regularizer is a float, expected a Reg"):
        inspect.unwrap(objective)(model, loss, 0.1)
