"""What is asked of every rule of the library."""

import re

import jax
import ml_dtypes
import numpy as np
import pytest

from benchmarks import accuracy
from purenn import verify
from purenn.typing import Array
from purenn.verify import Rule

RULES = verify.discover("purenn.ops", against="reference.ops")
COMMITTED = accuracy.committed()
# With a soft label its two terms cancel, and they are made of logarithms and powers.
SOFT_LABELS = {("sigmoid_focal_loss", "float64")}
ELEMENTWISE = [rule for rule in RULES if accuracy.is_elementwise(rule)]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_against_the_truth_and_jax(rule: Rule, device: jax.Device) -> None:
    """The examiner, and the table that is in the documentation."""
    assert rule.f is not None
    assert rule.reference is not None
    for row in accuracy.rows(rule, [device]):
        assert COMMITTED[rule.name, row.dtype] == row.verdict, row
        if accuracy.is_elementwise(rule) and (rule.name, row.dtype) not in SOFT_LABELS:
            assert row.verdict == "8 ULP"
        bound, lucky = {"8 ULP": (2, 1), "in tolerance": (8, 1), "as autodiff": (8, 8)}[row.verdict]
        if row.verdict != "in tolerance" or not accuracy.is_elementwise(rule):
            for error, rival in zip(row.by_hand, row.jax, strict=True):
                assert error <= max(lucky * rival, bound), row


def test_the_readme_shows_lines_of_the_table() -> None:
    table = accuracy.TABLE.read_text()
    readme = (accuracy.TABLE.parent.parent / "README.md").read_text()
    shown = [line for line in readme.splitlines() if re.match(r"\| \w+ \| float", line)]
    assert len(shown) > 5
    for line in shown:
        assert line in table


def test_the_table_has_no_rule_that_is_gone() -> None:
    assert {name for name, _ in COMMITTED} == {rule.name for rule in RULES}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("rule", ELEMENTWISE, ids=str)
def test_half_precision_computes_in_float32(rule: Rule, dtype: type) -> None:
    for static in accuracy.variants(rule):
        singles = (np.clip(x[:60], -9, 9) for x in accuracy.inputs(rule, "float32", static))
        halves: list[Array] = [x.astype(dtype) for x in singles]
        dy = np.cos(np.arange(60.0)).astype(dtype)
        y, pullback = rule.f_vjp(*halves, **dict(static))
        y32, pullback32 = rule.f_vjp(*(x.astype(np.float32) for x in halves), **dict(static))
        results = zip((y, *pullback(dy)), (y32, *pullback32(dy.astype(np.float32))), strict=True)
        for half, single in results:
            assert half.dtype == dtype
            spacing = 2.0**-10 if dtype is np.float16 else 2.0**-7
            np.testing.assert_allclose(half.astype(np.float32), single, rtol=spacing, atol=1e-6)


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=str)
def test_at_infinity_as_jax_where_jax_is_finite(rule: Rule) -> None:
    assert rule.f is not None
    assert rule.reference is not None
    for static in accuracy.variants(rule):
        count = len(accuracy.inputs(rule, "float64", static))
        xs = [np.array([np.inf, -np.inf, 0.5])] + [np.full(3, 0.25)] * (count - 1)
        with np.errstate(invalid="ignore"):
            y = rule.f(*xs, **dict(static))
        expected = np.asarray(rule.reference(*xs, **dict(static)))
        finite = np.isfinite(expected)
        np.testing.assert_allclose(y[finite], expected[finite], rtol=1e-14)
