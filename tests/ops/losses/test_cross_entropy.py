from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference.ops.losses
from purenn import verify
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import _numerics, losses
from purenn.typing import Array
from purenn.verify import balls, judge, oracles, truths
from purenn.verify.examples import Example

BY_NAME = {rule.name: rule for rule in verify.discover(losses, against=reference.ops.losses)}
LOGITS = hnp.arrays(np.float64, (4, 3), elements=st.floats(-30, 30))
DENSE = ["softmax_cross_entropy", "safe_softmax_cross_entropy", "poly_loss_cross_entropy"]


def distributions(shape: tuple[int, ...], axis: Any = -1) -> Array:
    q = np.random.default_rng(1).random(shape)
    return np.asarray(q / q.sum(axis, keepdims=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["softmax_cross_entropy_with_integer_labels", "sigmoid_binary_cross_entropy"]
)
def test_every_entry_within_8_ulp_for_hard_labels(name: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for scale in (1, 12, 100):
        logits = (rng.normal(size=(25, 4)) * scale).astype(dtype)
        labels = rng.integers(0, 4, 25)
        if name == "sigmoid_binary_cross_entropy":
            labels = rng.integers(0, 2, (25, 4)).astype(dtype)
        y, pullback = BY_NAME[name].f_vjp(logits, labels)
        dy: Array = rng.normal(size=y.shape).astype(dtype)
        example = Example(("logits", "labels"), (logits, labels), (), (dy,), dtype)
        reference = BY_NAME[name].reference
        assert reference is not None
        truth = truths.truth(oracles.Oracle(reference, "exact"), example)
        for ours, exact in ((y, truth.value[0]), (pullback(dy)[0], truth.cotangents[0])):
            assert exact is not None
            size = np.abs(balls.nearest(exact))
            assert np.max(judge.errors(ours, exact, size)) <= 8


def test_a_saturated_label_still_trains() -> None:
    logits = np.array([[40.0, 0.0]], np.float32)
    _, pullback = losses.softmax_cross_entropy_with_integer_labels_vjp(logits, np.array([0]))
    (dlogits, _) = pullback(np.ones(1, np.float32))
    np.testing.assert_allclose(dlogits, [[-np.exp(-40), np.exp(-40)]], rtol=1e-6)


@given(logits=LOGITS, labels=hnp.arrays(np.int64, 4, elements=st.integers(0, 2)))
def test_the_integer_form_is_the_dense_form_with_one_hot_labels(
    logits: Array, labels: Array
) -> None:
    y, pullback = losses.softmax_cross_entropy_with_integer_labels_vjp(logits, labels)
    y_dense, dense_pullback = losses.softmax_cross_entropy_vjp(logits, np.eye(3)[labels])
    np.testing.assert_allclose(y, y_dense, rtol=1e-14, atol=1e-300)
    dy = np.array([1.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(pullback(dy)[0], dense_pullback(dy)[0], rtol=1e-12, atol=1e-300)
    assert pullback(dy)[1] is None


@given(logits=LOGITS, targets=hnp.arrays(np.float64, (4, 3), elements=st.floats(0, 1)))
def test_values_are_those_of_optax(logits: Array, targets: Array) -> None:
    q = (targets + 0.1) / np.sum(targets + 0.1, axis=-1, keepdims=True)
    labels = np.argmax(targets, axis=-1)
    for name, second in (
        ("softmax_cross_entropy", q),
        ("safe_softmax_cross_entropy", q),
        ("poly_loss_cross_entropy", q),
        ("softmax_cross_entropy_with_integer_labels", labels),
        ("sigmoid_binary_cross_entropy", targets),
    ):
        expected = getattr(optax.losses, name)(logits, second)
        y = getattr(losses, name)(logits, second)
        np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("axis", [None, (2, 0)], ids=str)
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "poly_loss_cross_entropy"])
def test_along_several_axes_as_optax(name: str, axis: Any) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 4))
    q = distributions(logits.shape, axis)
    static = {"axis": axis} | ({"epsilon": -1.0} if "poly" in name else {})
    expected, theirs = jax.vjp(
        lambda logits, labels: getattr(optax.losses, name)(logits, labels, **static), logits, q
    )
    y, pullback = getattr(losses, f"{name}_vjp")(logits, q, **static)
    np.testing.assert_array_equal(y, getattr(losses, name)(logits, q, **static))
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    for ours, rival in zip(pullback(dy), theirs(jnp.asarray(dy)), strict=True):
        np.testing.assert_allclose(ours, rival, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, -2, (0, 2), (2, 0), None], ids=str)
def test_integer_labels_along_any_axes(axis: Any) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 4))
    y = np.asarray(losses.softmax_cross_entropy(logits, np.ones((2, 3, 4)) / 24, axis=axis))
    axes = (0, 1, 2) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    sizes = [logits.shape[one] for one in axes]
    labels = np.random.default_rng(1).integers(0, np.prod(sizes), y.shape)
    one_hot = np.eye(np.prod(sizes, dtype=int))[labels].reshape(*y.shape, *sizes)
    one_hot = np.moveaxis(one_hot, range(-len(axes), 0), axes)
    integer = losses.softmax_cross_entropy_with_integer_labels_vjp
    y, pullback = integer(logits, labels, axis=axis)
    y_dense, dense_pullback = losses.softmax_cross_entropy_vjp(logits, one_hot, axis=axis)
    np.testing.assert_allclose(y, y_dense, rtol=1e-14)
    np.testing.assert_allclose(pullback(y)[0], dense_pullback(y)[0], rtol=1e-13)
    if isinstance(axis, tuple):
        theirs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels, axis)
        np.testing.assert_allclose(y, theirs, rtol=1e-12)


@given(logits=LOGITS)
def test_the_joint_gradient_is_p_minus_q(logits: Array) -> None:
    q = distributions((4, 3))
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    _, pullback = losses.softmax_cross_entropy_vjp(logits, q)
    np.testing.assert_allclose(pullback(np.full(4, 0.25))[0], (p - q) / 4, atol=1e-14)


@pytest.mark.parametrize("name", DENSE)
def test_masked_classes_cost_nothing(name: str) -> None:
    logits, q = np.array([[1.0, -np.inf, 2.0]]), np.array([[0.0, 0.0, 1.0]])
    y, pullback = getattr(losses, f"{name}_vjp")(logits, q)
    y_without, pullback_without = getattr(losses, f"{name}_vjp")(logits[:, ::2], q[:, ::2])
    np.testing.assert_array_equal(y, y_without)
    np.testing.assert_array_equal(getattr(losses, name)(logits, q), y)
    (dlogits, dlabels), (expected, _) = pullback(np.ones(1)), pullback_without(np.ones(1))
    np.testing.assert_array_equal(dlogits[:, ::2], expected)
    assert dlogits[0, 1] == 0
    assert dlabels[0, 1] == np.inf
    assert np.all(pullback(np.zeros(1))[1] == 0)
    if name == "safe_softmax_cross_entropy":
        np.testing.assert_allclose(y, optax.losses.safe_softmax_cross_entropy(logits, q))


def test_masked_classes_cost_nothing_for_integer_labels() -> None:
    logits = np.array([[1.0, -np.inf, 2.0]])
    y, pullback = losses.softmax_cross_entropy_with_integer_labels_vjp(logits, np.array([2]))
    np.testing.assert_allclose(y, np.log1p(np.exp(-1)))
    np.testing.assert_allclose(pullback(np.ones(1))[0], [[0.26894142, 0, -0.26894142]], rtol=1e-7)


def test_poly_loss_without_epsilon_is_the_cross_entropy() -> None:
    logits, q = np.random.default_rng(0).normal(size=(5, 4)), distributions((5, 4))
    y, pullback = losses.poly_loss_cross_entropy_vjp(logits, q, epsilon=0.0)
    expected, cross_entropy = losses.softmax_cross_entropy_vjp(logits, q)
    np.testing.assert_allclose(y, expected, rtol=1e-15)
    for ours, theirs in zip(pullback(y), cross_entropy(y), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.parametrize("gap", [0.5, 5.0, 20.0, 45.0, 300.0])
def test_poly_loss_that_cancels_keeps_its_digits(gap: float) -> None:
    logits, q = np.array([[gap, 0.0]]), np.array([[1.0, 0.0]])
    y, pullback = losses.poly_loss_cross_entropy_vjp(logits, q, epsilon=-1.0)
    dlogits, dlabels = pullback(np.ones(1))
    with flint.ctx.workprec(2000):
        p = 1 / (1 + (-arb(gap)).exp())
        exact = [-p.log() - (1 - p), (1 - p) ** 2]
    np.testing.assert_allclose([y[0], dlabels[0, 0]], float(exact[0].mid()), rtol=2e-15)
    np.testing.assert_allclose(dlogits, [float(exact[1].mid()) * np.array([-1, 1])], rtol=2e-15)


def test_above_tangent_is_what_it_is_said_to_be() -> None:
    u = np.concatenate([np.linspace(-3, 3, 61), [1e-9, -1e-9, 1e-200, -700.0, -np.inf]])
    with flint.ctx.workprec(2000):
        exact = [arb(x).exp() - 1 - arb(x) if x > -np.inf else arb("inf") for x in u.tolist()]
    expected = [float(x.mid()) for x in exact]
    np.testing.assert_allclose(_numerics.above_tangent(u), expected, rtol=1e-15)


@given(alpha=st.floats(0, 1), axis=st.sampled_from([-1, 0, None, (1, 0)]))
def test_smooth_labels_mixes_with_the_uniform_distribution(alpha: float, axis: Any) -> None:
    labels = distributions((3, 4), axis)
    y, pullback = losses.smooth_labels_vjp(labels, alpha, axis=axis)
    np.testing.assert_array_equal(y, losses.smooth_labels(labels, alpha, axis=axis))
    np.testing.assert_allclose(y, optax.losses.smooth_labels(labels, alpha, axis=axis), rtol=1e-14)
    np.testing.assert_allclose(np.sum(y, axis), 1, rtol=1e-14)
    dlabels, dalpha = pullback(labels)
    np.testing.assert_allclose(dlabels, (1 - alpha) * labels)
    slope = jax.grad(lambda a: jnp.sum(labels * optax.losses.smooth_labels(labels, a, axis=axis)))
    np.testing.assert_allclose(dalpha, slope(alpha), atol=1e-15)


def test_an_infinite_logit_on_the_right_side_costs_nothing() -> None:
    logits, labels = np.array([np.inf, -np.inf, np.inf]), np.array([1.0, 0.0, 0.0])
    y, pullback = losses.sigmoid_binary_cross_entropy_vjp(logits, labels)
    np.testing.assert_array_equal(y, [0, 0, np.inf])
    dlogits, dlabels = pullback(np.array([1.0, 1.0, 0.0]))
    np.testing.assert_array_equal(dlogits, 0)
    np.testing.assert_array_equal(dlabels, [-np.inf, np.inf, 0])


@pytest.mark.parametrize("name", [*DENSE, "smooth_labels"])
def test_what_overflows_does_not_warn(name: str) -> None:
    logits, second = np.array([[1e300, -1e300]]), np.array([[0.25, 0.75]])
    _, pullback = getattr(losses, f"{name}_vjp")(logits, 0.5 if name == "smooth_labels" else second)
    dy: Array = np.full((1, 2) if name == "smooth_labels" else 1, 1e300)
    assert not np.any(np.isnan(pullback(dy)[0]))


@pytest.mark.parametrize("name", DENSE)
def test_empty_batches(name: str) -> None:
    y, pullback = getattr(losses, f"{name}_vjp")(np.ones((0, 3)), np.ones((0, 3)))
    assert y.shape == (0,)
    assert [dx.shape for dx in pullback(y)] == [(0, 3), (0, 3)]


def test_what_does_not_fit_is_refused_by_name() -> None:
    logits = np.zeros((3, 5))
    integer = losses.softmax_cross_entropy_with_integer_labels
    with pytest.raises(DomainError, match=r"labels\[1\] is 5, expected 0 to 4 \(classes − 1\)"):
        integer(logits, np.array([0, 5, 1]))
    with pytest.raises(DomainError, match=r"labels\[2\] is -1"):
        integer(logits, np.array([0, 1, -1]))
    with pytest.raises(DomainError, match=r"labels\[4\] is 3, expected 0 to 2 \(classes − 1\)"):
        integer(logits, np.arange(5) % 3 + np.array([0, 0, 0, 0, 2]), axis=0)
    with pytest.raises(DomainError, match=r"labels is 15, expected 0 to 14 \(classes − 1\)"):
        integer(logits, np.array(15), axis=None)
    with pytest.raises(DtypeError, match="labels has dtype float64, expected an integer dtype"):
        integer(logits, np.array([0.0, 1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"labels has shape \(3, 1\), expected .* -1, \(3,\)"):
        integer(logits, np.zeros((3, 1), int))
    with pytest.raises(ShapeError, match=r"labels has shape \(3,\), expected .* 0, \(5,\)"):
        integer(logits, np.zeros(3, int), axis=0)
    with pytest.raises(ShapeError, match=r"logits has shape \(0, 5\), expected an entry along"):
        integer(logits[:0], np.zeros(5, int), axis=0)
    with pytest.raises(ShapeError, match=r"labels has shape \(3,\)"):
        losses.softmax_cross_entropy(logits, np.zeros(3))
    binary = losses.sigmoid_binary_cross_entropy
    with pytest.raises(DomainError, match=r"labels\[0, 1\] is 2.0, expected ≥ 0 and ≤ 1"):
        binary(np.zeros((1, 2)), np.array([[1.0, 2.0]]))
    with pytest.raises(DomainError, match=r"labels\[0\] is nan"):
        binary(np.zeros(1), np.array([np.nan]))
    with pytest.raises(DtypeError, match="logits has dtype int64, expected a floating dtype"):
        binary(np.zeros(2, np.int64), np.zeros(2))
    for alpha in (-0.1, 1.5, np.nan):
        with pytest.raises(DomainError, match=rf"smooth_labels: alpha is {alpha}, .* ≥ 0 and ≤ 1"):
            losses.smooth_labels(logits, alpha)
    for one in (losses.poly_loss_cross_entropy, losses.poly_loss_cross_entropy_vjp):
        with pytest.raises(DomainError, match="poly_loss_cross_entropy: epsilon is nan"):
            one(logits, logits, epsilon=float("nan"))


@pytest.mark.parametrize("name", DENSE)
def test_no_classes_and_no_axis_are_refused(name: str) -> None:
    loss, nothing = getattr(losses, name), np.zeros((3, 0))
    with pytest.raises(ShapeError, match=rf"{name}: logits has shape \(3, 0\), expected an"):
        loss(nothing, nothing)
    if name != "safe_softmax_cross_entropy":
        with pytest.raises(ShapeError, match=rf"{name}: axis is 2, but logits has shape \(3, 0\)"):
            loss(nothing, nothing, axis=2)


def test_the_gradient_is_sharp_where_a_soft_label_is_almost_the_probability() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=400) * 8
    near = 1 / (1 + np.exp(-logits))
    nearly = near * (1 + rng.choice([-1, 1], 400) * 10 ** rng.uniform(-14, -1, 400))
    labels = np.clip(nearly, 0, 1)
    _, pullback = losses.sigmoid_binary_cross_entropy_vjp(logits, labels)
    dlogits = pullback(np.ones(400))[0]
    with flint.ctx.workprec(300):
        for x, q, dx in zip(logits, labels, dlogits, strict=True):
            truth = 1 / (1 + (-arb(x)).exp()) - arb(q)
            unit = np.spacing(abs(float(truth.mid())))
            assert abs(arb(dx) - truth) <= 4 * unit
    _, pullback = losses.sigmoid_binary_cross_entropy_vjp(logits[0, ...], labels[0, ...])
    np.testing.assert_allclose(pullback(np.ones(()))[0], dlogits[0])
