from functools import cache

import numpy as np
import pytest

import purenn.ops
import reference.ops
from purenn import verify
from purenn.typing import Array
from purenn.verify import Rule
from purenn.verify.mutants import MUTANTS
from purenn.verify.power import Power, power
from tests.verify import right_reference, right_rules, wrong_rules

RULES = {rule.name: rule for rule in verify.discover(purenn.ops, reference.ops)}

# It is the examiner that has to catch the mistakes, not what enforces the annotations.
pytestmark = pytest.mark.usefixtures("unannotated")


@cache
def measured(name: str) -> Power:
    return power(RULES[name], examples=20)


@pytest.mark.parametrize("name", ["tanh", "dense"])
def test_no_mistake_survives(name: str) -> None:
    found = measured(name)
    assert found.verdict == "pass"
    assert found.survived == ()
    assert len(found.caught) + len(found.equivalent) == len(MUTANTS)
    assert len(found.caught) >= 40


def test_mistakes_are_made_in_gradients_too() -> None:
    rules = verify.discover(right_rules, right_reference)
    found = power(next(rule for rule in rules if rule.convention == "grad"), examples=20)
    assert (found.verdict, found.survived) == ("pass", ())
    assert {"sign", "no 1/N", "swapped", "writes to x"} <= set(found.caught)
    assert {"no dy", "writes to dy", "accumulates"} <= set(found.equivalent)


def test_what_is_no_mistake_for_a_rule_is_recognised() -> None:
    found = measured("tanh")
    assert {"at -x", "at |x|", "diagonal", "coupling"} <= set(found.equivalent)
    assert not {"sign", "zeros", "1e-5", "unsteady", "writes to dy"} & set(found.equivalent)


def test_a_mistake_that_no_input_shows_survives_no_comparison() -> None:
    def flat_vjp(x: wrong_rules.X) -> object:
        return np.zeros_like(x), lambda dy: (np.zeros_like(dy),)

    rule = Rule("flat", None, flat_vjp, lambda x: 0 * x)
    assert {"zeros", "sign", "twice"} <= set(power(rule).equivalent)


def test_a_rule_that_is_wrong_itself_measures_nothing() -> None:
    def double_vjp(x: wrong_rules.X) -> object:
        def pullback(dy: Array) -> tuple[Array]:
            return (3 * dy,)

        return 2 * x, pullback

    found = power(Rule("double", None, double_vjp, lambda x: 2 * x))
    assert found.verdict == "error"
    assert "the rule itself does not pass: " in found.reason
