"""Plans: the same bits as the rules, also where they are used again, and after what overflowed."""

from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from purenn.errors import DomainError
from purenn.ops import _plans, activations, linear, losses
from purenn.ops._plans import plan_of, run
from purenn.typing import Array

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38, -3e38]
SIZES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)


def bits(x: Array) -> bytes:
    # Which NaN comes out of a sum of NaN and NaN is not ours to say.
    return np.where(np.isnan(x), np.zeros((), x.dtype), x).tobytes() + np.isnan(x).tobytes()


def drawn(rng: Any, shape: tuple[int, ...], dtype: Any, special: float = 0.0) -> Array:
    x = rng.normal(size=shape).astype(dtype)
    with np.errstate(all="ignore"):
        chosen = np.asarray(SPECIAL, dtype)[rng.integers(0, len(SPECIAL), shape)]
    return np.asarray(np.where(rng.random(shape) < special, chosen, x))


@np.errstate(all="ignore")
def assert_same(rule: Any, rule_vjp: Any, calls: list[tuple[tuple[Array, ...], Array]]) -> None:
    """Use one plan for all calls, and forget nothing of the last."""
    planner = plan_of(rule)
    assert planner is not None
    primals, dy = [x.copy() for x in calls[0][0]], calls[0][1].copy()
    plan = planner(*primals)
    assert plan is not None
    cotangents = [np.full_like(x, 7) if x.dtype.kind == "f" else None for x in primals]
    backward = plan.backward(dy, *cotangents)
    for its_primals, its_dy in calls:
        y, pullback = rule_vjp(*its_primals)
        expected = pullback(its_dy)
        for x, its in zip([*primals, dy], [*its_primals, its_dy], strict=True):
            x[...] = its
        run(plan.forward)
        assert bits(plan.y) == bits(y)
        run(backward)
        for got, dx in zip(cotangents, expected, strict=True):
            assert got is None or bits(got) == bits(dx)


def several(make: Callable[[Any], tuple[tuple[Array, ...], Array]], seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return [make(rng) for _ in range(3)]


@given(
    n=SIZES, m=SIZES, k=SIZES, seed=SEEDS, special=st.sampled_from([0.0, 0.02]),
    dtype=st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_dense(n: int, m: int, k: int, seed: int, special: float, dtype: Any) -> None:
    def call(rng: Any) -> tuple[tuple[Array, ...], Array]:
        shapes = (n, m), (m, k), (k,), (n, k)
        x, kernel, bias, dy = (drawn(rng, shape, dtype, special) for shape in shapes)
        return (x, kernel, bias), dy

    assert_same(linear.dense, linear.dense_vjp, several(call, seed))


@given(n=SIZES, m=SIZES, seed=SEEDS)
def test_dense_without_the_input_cotangent(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, kernel, bias, dy = (drawn(rng, s, np.float32) for s in ((n, m), (m, 3), (3,), (n, 3)))
    plan = _plans.dense_plan(x, kernel, bias)
    assert plan is not None
    dkernel, dbias = np.empty_like(kernel), np.empty_like(bias)
    run(plan.forward)
    run(plan.backward(dy, None, dkernel, dbias))
    _, *expected = linear.dense_vjp(x, kernel, bias)[1](dy)
    assert [bits(dkernel), bits(dbias)] == [*map(bits, expected)]


@given(n=SIZES, m=SIZES, seed=SEEDS, dtype=st.sampled_from([np.float16, np.float32, np.float64]))
def test_relu(n: int, m: int, seed: int, dtype: Any) -> None:
    def call(rng: Any) -> tuple[tuple[Array, ...], Array]:
        return (drawn(rng, (n, m), dtype, 0.3),), drawn(rng, (n, m), dtype, 0.3)

    assert_same(activations.relu, activations.relu_vjp, several(call, seed))


@given(
    n=SIZES, classes=st.integers(1, 30), seed=SEEDS, special=st.sampled_from([0.0, 0.05]),
    scale=st.sampled_from([1, 100]), kind=st.sampled_from([np.int8, np.int32, np.int64, np.int16]),
)  # fmt: skip
def test_softmax_cross_entropy_with_integer_labels(
    n: int, classes: int, seed: int, special: float, scale: int, kind: Any
) -> None:
    def call(rng: Any) -> tuple[tuple[Array, ...], Array]:
        logits = drawn(rng, (n, classes), np.float32, special) * np.float32(scale)
        labels = rng.integers(0, classes, n).astype(kind)
        return (logits, labels), drawn(rng, (n,), np.float32)

    with np.errstate(all="ignore"):
        calls = several(call, seed)
    rule = losses.softmax_cross_entropy_with_integer_labels
    assert_same(rule, losses.softmax_cross_entropy_with_integer_labels_vjp, calls)


@pytest.mark.parametrize("label", [-1, 3, 127, -128])
def test_a_label_that_is_no_class_is_refused_as_by_the_rule(label: int) -> None:
    logits, labels = np.zeros((2, 3), np.float32), np.array([0, label], np.int8)
    rule = losses.softmax_cross_entropy_with_integer_labels_vjp
    plan = _plans.softmax_cross_entropy_with_integer_labels_plan(logits, labels)
    assert plan is not None
    refusals = []
    for call in (lambda: rule(logits, labels), lambda: run(plan.forward)):
        with pytest.raises(DomainError) as refused:
            call()
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]


def test_a_rule_of_somebody_else_has_no_plan_of_ours() -> None:
    def relu(x: Array) -> Array:
        return x

    assert plan_of(relu) is None
    assert plan_of(activations.tanh) is None
    assert plan_of(activations.relu) is _plans.relu_plan
