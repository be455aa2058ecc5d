"""What is asked of every rule of the library."""

import re
from contextlib import suppress
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import strategies as st
from jaxtyping import config

from benchmarks import accuracy
from purenn import verify
from purenn.errors import DomainError
from purenn.verify import Rule, annotations, calls
from purenn.verify.record import Record
from purenn.verify.trial import Trial, search

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
    with pytest.MonkeyPatch.context() as patch:  # thousands of calls, as a user has them
        patch.setattr(config, "jaxtyping_disable", True)
        rows = accuracy.rows(rule, [device])
    _annotations_hold(rule, device)
    for row in rows:
        assert COMMITTED[rule.name, row.dtype] == row.verdict, row
        if accuracy.is_elementwise(rule) and (rule.name, row.dtype) not in SOFT_LABELS:
            assert row.verdict == "8 ULP"
        bound, lucky = {"8 ULP": (2, 1), "in tolerance": (8, 1), "as autodiff": (8, 8)}[row.verdict]
        if row.verdict != "in tolerance" or not accuracy.is_elementwise(rule):
            for error, rival in zip(row.by_hand, row.jax, strict=True):
                assert error <= max(lucky * rival, bound), row


def _annotations_hold(rule: Rule, device: jax.Device) -> None:
    """Those of every function on the way, for some of what the examiner draws."""
    signature = annotations.signature([rule.f_vjp], {}, rule.cases)

    def look(trial: Trial, data: st.DataObject) -> None:
        with suppress(DomainError):
            calls.call(rule, *trial.draw(data), signature)

    for dtype in accuracy.DTYPES:
        trial = Trial(rule, signature, dtype, [device], Record(dtype), np.inf)
        search(partial(look, trial), examples=8, seed=0)


def test_the_readme_shows_lines_of_the_table() -> None:
    table = accuracy.TABLE.read_text()
    readme = (accuracy.TABLE.parent.parent / "README.md").read_text()
    shown = [line for line in readme.splitlines() if re.match(r"\| \w+ \| float", line)]
    assert len(shown) > 5
    for line in shown:
        assert line in table


def test_the_table_has_no_rule_that_is_gone() -> None:
    assert {name for name, _ in COMMITTED} == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", ELEMENTWISE, ids=str)
def test_at_infinity_as_jax_where_jax_is_finite(rule: Rule) -> None:
    assert rule.f is not None
    assert rule.reference is not None
    for static in accuracy.variants(rule):
        first, *others = accuracy.inputs(rule, "float64", static)
        if np.max(first) <= 1:  # probabilities
            continue
        xs = [np.array([np.inf, -np.inf, 0.5])]
        xs += [np.full(3, 0.25) if x.dtype == np.float64 else np.zeros(3, int) for x in others]
        with np.errstate(invalid="ignore"):
            y = rule.f(*xs, **dict(static))
        expected = np.asarray(rule.reference(*xs, **dict(static)))
        finite = np.isfinite(expected)
        np.testing.assert_allclose(y[finite], expected[finite], rtol=1e-14)
