import re

import jax
import numpy as np
import pytest

from purenn import verify
from purenn.verify import Rule
from tests.verify import wrong_rules

FUNCTIONS = {
    name: f for name, f in vars(wrong_rules).items() if name.startswith(("wrong_", "right_"))
}


def as_rule(name: str) -> Rule:
    reference = wrong_rules.reference_of(name)
    return Rule(name, reference, FUNCTIONS[name], reference)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("wrong_")])
def test_every_mistake_is_caught(name: str) -> None:
    finding = verify.examine(as_rule(name), "float64")
    assert finding.verdict == ("error" if name == "wrong_raises" else "fail")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("right_")])
def test_what_is_right_is_not_accused(name: str, seed: int) -> None:
    for dtype in verify.DTYPES:
        assert verify.examine(as_rule(name), dtype, seed=seed).reason == ""


REASONS = {
    "wrong_bare_array": "the pullback returned an array of shape .*, expected a tuple",
    "wrong_dtype": r"cotangent 0 is an array of shape \(.*\) and dtype float16, expected",
    "wrong_shape": r"cotangent 0 is an array of shape .*, expected an array of shape",
    "wrong_writes_to_dy": "(dy was written to|cannot set WRITEABLE)",
    "wrong_second_call": "a second call of the pullback gives other bits",
    "wrong_raises": "RuntimeError: not today",
    "wrong_value": r"y.*: got .*, expected .*, off by .* ULP",
    "wrong_dense_kernel_of_first_example": r"dkernel\[\d, \d\]: got .* expected",
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_says_what_is_wrong(name: str) -> None:
    with pytest.raises(verify.DerivativeError, match=REASONS[name]):
        verify.check(as_rule(name))


def test_the_counterexample_is_code_that_reproduces_it(capsys: pytest.CaptureFixture[str]) -> None:
    reason = verify.examine(as_rule("wrong_sign"), "float64").reason
    told, code = reason.split("\n\n")
    assert told.startswith("dx")
    exec(code, {})
    printed = capsys.readouterr().out
    got = told.split("got ")[1].split(",")[0]
    assert got.removesuffix("0") in printed


def test_what_the_reference_does_wrong_is_said_of_the_reference() -> None:
    def raises(x: object) -> object:
        raise KeyError("oops")

    rule = as_rule("wrong_sign")._replace(reference=raises)
    reason = verify.examine(rule, "float64").reason
    assert re.match(r"the reference raised KeyError: 'oops' \(.*test_examine.py:\d+\)", reason)
    rule = rule._replace(reference=lambda x: (x, x))
    reason = verify.examine(rule, "float64").reason
    assert reason.startswith("the reference returned a tuple, expected one array")


def test_at_a_kink_the_message_gives_both_ends() -> None:
    def relu_vjp(x: wrong_rules.X) -> object:
        return np.maximum(x, 0), lambda dy: (np.where(x == 0, 5, x > 0) * dy,)

    rule = Rule("relu", jax.nn.relu, relu_vjp, jax.nn.relu)
    reason = verify.examine(rule, "float64").reason
    assert re.search(r"expected -?[\d.e-]+ to [\d.e-]+ \(a kink\)", reason)


def test_a_failure_is_shrunk() -> None:
    reason = verify.examine(as_rule("wrong_only_first_right"), "float64").reason
    assert "np.array([0.0" in reason or "np.array([[0.0" in reason


def test_the_same_seed_finds_the_same(device: jax.Device) -> None:
    rule = as_rule("right_textbook_tanh")
    first, again, other = (
        verify.examine(rule, "float32", seed=seed, devices=[device]) for seed in (5, 5, 6)
    )
    assert first == again
    assert first.worst != other.worst


def test_saturated_float32_shows_in_the_table() -> None:
    finding = verify.examine(as_rule("right_textbook_tanh"), "float32", examples=100)
    assert finding.reason == ""
    assert finding.worst > 1e3
    assert np.isfinite(finding.worst)
