"""Blocks: each element is what it would be alone, whatever the shape and the layout."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from benchmarks import accuracy
from purenn import verify
from purenn.contract import unchecked
from purenn.ops import _elementwise, activations, losses
from purenn.typing import Array
from purenn.verify import Rule

RULES = [
    rule
    for rule in verify.discover("purenn.ops", against="reference.ops")
    if accuracy.is_elementwise(rule)
]


def results(rule: Rule, primals: list[Array], dy: Array, static: dict[str, Any]) -> list[Any]:
    assert rule.f is not None
    y, pullback = rule.f_vjp(*primals, **static)
    return [rule.f(*primals, **static), y, *pullback(dy)]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_change_no_bit(rule: Rule, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for static in map(dict, accuracy.variants(rule)):
        drawn = accuracy.inputs(rule, dtype, tuple(static.items()))
        primals = [np.resize(x, (40, 50)).T for x in drawn]  # not one vector in memory
        dy = np.random.default_rng(0).normal(size=(50, 40)).astype(dtype)
        whole = results(rule, primals, dy, static)
        monkeypatch.setattr(_elementwise, "BLOCK", 64)
        for got, expected in zip(results(rule, primals, dy, static), whole, strict=True):
            np.testing.assert_array_equal(got, expected, strict=True)
        monkeypatch.undo()


@given(
    shape=st.lists(st.integers(0, 5), max_size=4).map(tuple),
    block=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(shape: tuple[int, ...], block: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, dy = (np.asarray(x) for x in rng.normal(size=(2, *shape)))
    labels = np.asarray(rng.integers(0, 2, shape))
    sizes = []

    def seen(x: Array, labels: Array) -> Any:
        sizes.append(x.size)
        return unchecked(losses.sparsemax_loss_vjp)(x, labels)

    seen.__name__ = "seen_vjp"
    whole, through = losses.sparsemax_loss_vjp(logits, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_elementwise, "BLOCK", block)
        y, pullback = _elementwise.elementwise(seen)(logits, labels)
        cotangents = pullback(dy)
    assert max(sizes) <= block
    assert sum(sizes) == logits.size
    np.testing.assert_array_equal(y, whole, strict=True)
    np.testing.assert_array_equal(cotangents[0], through(dy)[0], strict=True)
    assert cotangents[1] is None


def test_what_is_not_of_one_shape_is_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_elementwise, "BLOCK", 2)
    shapes = []

    def shift(x: Array, by: Array) -> Array:
        shapes.append((x.shape, by.shape))
        return np.asarray(x + by)

    y = _elementwise.elementwise(shift)(np.ones((2, 3)), np.ones(()))
    assert shapes == [((2, 3), ())]
    assert y.shape == (2, 3)


def test_a_pullback_may_be_used_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_elementwise, "BLOCK", 3)
    x = np.linspace(-2, 2, 8, dtype=np.float32)
    _, pullback = activations.tanh_vjp(x)
    (first,) = pullback(np.ones_like(x))
    kept = first.copy()
    (second,) = pullback(2 * np.ones_like(x))
    np.testing.assert_array_equal(second, 2 * kept)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("block", [2, 100])
def test_arrays_by_name(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_elementwise, "BLOCK", block)
    x, t = np.linspace(-2, 2, 6).reshape(2, 3), np.ones((2, 3))
    expected = losses.huber_loss(x, t, delta=0.5)
    np.testing.assert_array_equal(losses.huber_loss(x, targets=t, delta=0.5), expected)
    np.testing.assert_array_equal(losses.huber_loss(targets=t, predictions=x, delta=0.5), expected)
    y, pullback = activations.elu_vjp(x=x, alpha=2.0)
    again, through = activations.elu_vjp(x, alpha=2.0)
    np.testing.assert_array_equal(y, again)
    np.testing.assert_array_equal(pullback(t)[0], through(t)[0])
