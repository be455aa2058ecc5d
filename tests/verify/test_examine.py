import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn import verify
from purenn.typing import Array, Float
from purenn.verify import Rule, Verdict, floats
from tests.verify import wrong_rules

FUNCTIONS = {
    name: f for name, f in vars(wrong_rules).items() if name.startswith(("wrong_", "right_"))
}


def as_rule(name: str) -> Rule:
    reference = wrong_rules.reference_of(name)
    return Rule(name, None, FUNCTIONS[name], reference)


def examine(rule: Rule, *dtypes: str, **options: Any) -> Verdict:
    options = {"examples": 20, "kept": None} | options
    return verify.examine(rule, dtypes=dtypes or ("float64",), **options)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("right_")])
def test_what_is_right_is_not_accused(name: str, seed: int) -> None:
    assert examine(as_rule(name), *verify.DTYPES, seed=seed).reason == ""


REASONS = {
    "wrong_bare_array": "the pullback returned an array of shape .*, expected a tuple",
    "wrong_dtype": r"dx is an array of shape \(.*\) and dtype float16, expected",
    "wrong_shape": r"dx is an array of shape .*, expected an array of shape",
    "wrong_writes_to_dy": "(dy was written to|cannot set WRITEABLE)",
    "wrong_second_call": "a second call of the pullback gives other bits",
    "wrong_keeps_x_outside": "the pullback after calls with other arguments gives other bits",
    "wrong_raises": "RuntimeError: not today",
    "wrong_value": r"y.*: got .*, expected .*, off by .* ULP",
    "wrong_dense_kernel_of_first_example": r"dkernel\[\d, \d\]: got .* expected",
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_says_what_is_wrong(name: str) -> None:
    with pytest.raises(verify.DerivativeError, match=REASONS[name]):
        verify.check(as_rule(name), kept=None)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("wrong_")])
def test_every_mistake_is_caught_and_its_counterexample_fails_as_the_rule_does(name: str) -> None:
    verdict = examine(as_rule(name), examples=40)
    assert verdict.verdict == ("error" if name == "wrong_raises" else "fail")
    failure = RuntimeError if name == "wrong_raises" else (AssertionError, ValueError)
    with np.errstate(all="ignore"), pytest.raises(failure):
        exec(verdict.counterexample, {})


def test_what_the_reference_does_wrong_is_said_of_the_reference() -> None:
    def raises(x: object) -> object:
        raise KeyError("oops")

    rule = as_rule("wrong_sign")._replace(reference=raises)
    reason = examine(rule).reason
    assert re.match(r"the reference raised KeyError: 'oops' \(.*test_examine.py:\d+\)", reason)
    rule = rule._replace(reference=lambda x: (x, x))
    reason = examine(rule).reason
    assert "y is an array of shape" in reason


def test_a_reference_with_another_signature_is_told() -> None:
    rule = as_rule("wrong_sign")._replace(reference=lambda x, scale: x * scale)
    verdict = examine(rule)
    assert verdict.verdict == "error"
    assert verdict.reason == (
        "the reference has another signature: missing a required argument: 'scale'; "
        "it takes (x, scale), the rule (x)"
    )


def test_what_the_rule_refuses_and_has_no_value_is_outside_of_its_domain() -> None:
    def root_vjp(x: Float[Array, " n"]) -> object:
        if np.any(x <= 0):
            raise ValueError("not positive")
        return np.sqrt(x), lambda dy: (dy / (2 * np.sqrt(x)),)

    verdict = examine(Rule("root", None, root_vjp, lambda x: jnp.sqrt(x - 0)))
    assert verdict.verdict == "error"  # at 0 there is a value
    assert "ValueError: not positive" in verdict.reason
    outside = Rule("root", None, root_vjp, lambda x: jnp.where(x > 0, jnp.sqrt(x), jnp.nan))
    assert examine(outside).reason == ""


def test_where_squares_overflow_a_textbook_form_may_fail_but_not_before() -> None:
    def norm_vjp(x: wrong_rules.M) -> object:
        y = np.sqrt((x * x).sum(axis=-1) + x.dtype.type(1))
        return y, lambda dy: (dy[:, None] * x / y[:, None],)

    def norm(x: Any) -> Any:
        return jnp.sqrt(jnp.sum(x**2, axis=-1) + 1)

    verdict = examine(Rule("norm", None, norm_vjp, norm), "float32", examples=60)
    assert verdict.reason == ""

    def exp_vjp(x: wrong_rules.M) -> object:
        e = np.exp(x)
        return e / (1 + e), lambda dy: (dy * e / (1 + e) ** 2,)

    rule = Rule("logistic", None, exp_vjp, jax.nn.sigmoid)
    assert "nan" in examine(rule, "float32", examples=60).reason


def test_at_a_kink_the_message_gives_both_ends() -> None:
    def relu_vjp(x: wrong_rules.X) -> object:
        return np.maximum(x, 0), lambda dy: (np.where(x == 0, 5, x > 0) * dy,)

    rule = Rule("relu", None, relu_vjp, jax.nn.relu)
    reason = examine(rule).reason
    assert re.search(r"expected -?[\d.e-]+ to [\d.e-]+ \(any value in it: a kink\)", reason)


def test_a_failure_is_shrunk() -> None:
    reason = examine(as_rule("wrong_only_first_right")).counterexample
    assert "np.array([0.0" in reason or "np.array([[0.0" in reason


def test_the_same_seed_finds_the_same(device: jax.Device) -> None:
    rule = as_rule("right_textbook_tanh")
    first, again, other = (
        examine(rule, "float32", seed=seed, devices=[device]) for seed in (5, 5, 6)
    )
    assert first == again
    assert first.worst_ulp != other.worst_ulp


def test_saturated_float32_shows_in_the_table_and_by_which_door_it_came() -> None:
    verdict = examine(as_rule("right_textbook_tanh"), "float32", examples=100)
    assert verdict.reason == ""
    worst = verdict.worst_ulp["float32"]
    assert worst is not None
    assert 1e3 < worst < np.inf
    assert verdict.notes == ("float32: not within 8 ULP, but no worse than JAX's autodiff",)


def test_a_failure_is_kept_and_tried_first_the_next_time(tmp_path: Path) -> None:
    rule = as_rule("wrong_sign_in_saturation")
    first = verify.examine(rule, dtypes=["float64"], kept=tmp_path, seed=0)
    again = verify.examine(rule, dtypes=["float64"], kept=tmp_path, seed=3, examples=1)
    assert first.verdict == again.verdict == "fail"
    assert first.counterexample == again.counterexample


def test_the_time_limit_ends_the_drawing() -> None:
    verdict = examine(as_rule("right_huber"), time_limit=1e-9)
    assert "float64: the time was up before all inputs were drawn" in verdict.notes


def test_a_known_mistake_is_named() -> None:
    reason = examine(as_rule("wrong_mean_without_1_over_n")).reason
    assert "this is what you get if the mean's 1/N is forgotten" in reason


def test_a_mistake_that_fits_some_inputs_alone_is_not_named() -> None:
    def hinge_vjp(x: wrong_rules.X) -> object:
        return np.maximum(1 - x, 0), lambda dy: (np.where(x > 1, -dy, 0),)

    verdict = examine(Rule("hinge", None, hinge_vjp, lambda x: jnp.maximum(1 - x, 0)))
    assert verdict.verdict == "fail"
    assert "this is what you get" not in verdict.reason


def test_a_counterexample_brings_its_named_tuple_along() -> None:
    rule = Rule("norm", None, wrong_rules.wrong_pair, wrong_rules.pair)
    verdict = examine(rule)
    assert "import wrong_pair, Pair" in verdict.counterexample
    with pytest.raises(AssertionError):
        exec(verdict.counterexample, {})


def test_each_property_has_its_line() -> None:
    verdict = examine(as_rule("right_huber"), *verify.DTYPES)
    assert {check.check for check in verdict.checks} == {
        "contract",
        "same bits again",
        "arguments untouched",
        "value",
        "cotangent dx",
        "linear in dy",
        "adjoint",
        "layout",
        "empty batches",
        "not finite",
    }


BREAKS = {
    "wrong_bare_array": "contract",
    "wrong_second_call": "same bits again",
    "wrong_writes_to_dy": "arguments untouched",
    "wrong_in_fortran_order": "layout",
    "wrong_value": "value",
    "wrong_sign": "cotangent dx",
}


@pytest.mark.parametrize("name", BREAKS)
def test_the_line_of_what_broke_says_so(name: str) -> None:
    verdict = examine(as_rule(name))
    failed = [check.check for check in verdict.checks if check.verdict == "fail"]
    assert BREAKS[name] in failed
    assert verdict.reason.split("\n")[0].endswith(f"[{BREAKS[name]}]")


@pytest.mark.parametrize(
    ("at_zero", "convention"),
    [(0.0, "from the left, as JAX"), (1.0, "from the right"), (0.5, "the mean")],
)
def test_the_convention_at_a_kink_is_named(at_zero: float, convention: str) -> None:
    def relu_vjp(x: wrong_rules.X) -> object:
        return np.maximum(x, 0), lambda dy: (np.where(x == 0, at_zero, x > 0).astype(x.dtype) * dy,)

    verdict = examine(Rule("relu", None, relu_vjp, jax.nn.relu))
    (kinks,) = (check for check in verdict.checks if check.check == "kinks")
    assert verdict.verdict == "pass"
    assert f"{convention} (" in kinks.note


def test_tied_maxima_share_one_derivative() -> None:
    def rule(sharing: Callable[[Array], Array]) -> Rule:
        def top_vjp(x: wrong_rules.M) -> object:
            top = x.max(axis=-1, keepdims=True, initial=-np.inf)
            weight = sharing(x == top).astype(x.dtype)
            return top[..., 0], lambda dy: (dy[..., None] * weight,)

        return Rule("top", None, top_vjp, lambda x: jnp.max(x, axis=-1))

    def first(tied: Array) -> Array:
        return np.asarray(tied & (np.cumsum(tied, axis=-1) == 1))

    assert examine(rule(first)).reason == ""
    assert examine(rule(lambda tied: tied / tied.sum(axis=-1, keepdims=True))).reason == ""
    reason = examine(rule(lambda tied: tied)).reason
    assert reason.split("\n")[0].endswith("[adjoint]")
    assert "what is tied must share one derivative" in reason


def test_a_rule_without_a_reference_is_examined_numerically() -> None:
    name = "right_mean_square"
    rule = Rule(name, lambda x: np.mean(x**2, axis=-1), FUNCTIONS[name])
    verdict = examine(rule, *verify.DTYPES)
    assert (verdict.verdict, verdict.against) == ("pass", "numeric (no reference)")
    wrong = rule._replace(derivative=FUNCTIONS["wrong_mean_without_1_over_n"])
    assert examine(wrong).verdict == "fail"


def test_a_primitive_without_an_exact_rule_is_judged_in_float64_and_said() -> None:
    def solve_vjp(x: Float[Array, " n"]) -> object:
        return np.fft.fft(x).real.astype(x.dtype), lambda dy: (np.fft.fft(dy).real.astype(x.dtype),)

    rule = Rule("solve", None, solve_vjp, lambda x: jnp.fft.fft(x).real)
    verdict = examine(rule, *verify.DTYPES)
    assert verdict.verdict == "pass"
    assert verdict.against == "float64 (no exact rule for a conversion to complex numbers)"


def test_constants_that_depend_on_the_dtype_are_those_of_the_dtype() -> None:
    def ours_vjp(x: Float[Array, " n"]) -> object:
        eps = np.finfo(x.dtype).eps
        return x * eps, lambda dy: (dy * eps,)

    rule = Rule("tiny", None, ours_vjp, lambda x: x * floats.eps(x.dtype))
    assert examine(rule, *verify.DTYPES).reason == ""
