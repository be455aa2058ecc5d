import types
from typing import Any

import jax
import numpy as np
import pytest

import purenn.ops.activations
import reference.ops.activations.sigmoids
from purenn import verify
from purenn.typing import Array, Float


def module(name: str, **members: object) -> types.ModuleType:
    made = types.ModuleType(name)
    for member, value in members.items():
        if callable(value):
            value.__module__ = name
        setattr(made, member, value)
    return made


def test_the_library_is_found_whole() -> None:
    by_module = verify.discover(purenn.ops, reference.ops)
    by_name = verify.discover("purenn.ops", "reference.ops")
    assert by_module == by_name
    names = [rule.name for rule in by_name]
    assert len(names) == len({*names})
    assert {"relu", "dense", "squared_error"} <= {*names}
    assert all(rule.reference is not None for rule in by_name)


def f(x: Float[Array, " n"]) -> Array:
    return x


def with_rules(**members: object) -> types.ModuleType:
    return module("ours", f=copied(f), **members)


def copied(function: Any) -> Any:
    made = types.FunctionType(function.__code__, globals(), function.__name__)
    made.__annotations__ = dict(function.__annotations__)
    return made


def found(ours: types.ModuleType, against: Any = None) -> list[tuple[str, str]]:
    return [(str(rule), rule.convention) for rule in verify.discover(ours, against)]


def test_every_convention_is_found_by_name() -> None:
    assert found(with_rules(f_vjp=copied(f))) == [("f", "vjp")]
    assert found(with_rules(f_fwd=copied(f), f_bwd=copied(f))) == [("f", "fwd_bwd")]
    assert found(with_rules(f_grad=copied(f))) == [("f", "grad")]
    assert found(with_rules(f_jvp=copied(f))) == [("f", "jvp")]


def test_a_jvp_is_examined_beside_its_vjp() -> None:
    ours = with_rules(f_vjp=copied(f), f_jvp=copied(f))
    (rule,) = verify.discover(ours)
    assert rule.jvp is ours.f_jvp


def test_two_conventions_for_one_function_are_two_rules() -> None:
    assert found(with_rules(f_vjp=copied(f), f_grad=copied(f))) == [
        ("f", "vjp"),
        ("f_grad", "grad"),
    ]


def test_what_carries_its_derivative_is_one_rule_against_its_own_function() -> None:
    def forward(x: Float[Array, " n"]) -> Any:
        return x, x

    inner = copied(f)
    custom = jax.custom_vjp(inner)
    custom.__module__ = "ours"
    custom.defvjp(forward, lambda x, g: (g,))
    ours = types.ModuleType("ours")
    ours.f, ours.f_fwd = custom, forward  # type: ignore[attr-defined]
    forward.__module__ = "ours"
    (rule,) = verify.discover(ours)
    assert (rule.name, rule.convention) == ("f", "custom_vjp")
    assert rule.reference is inner


def test_helpers_that_only_sound_like_rules_are_left_alone() -> None:
    ours = with_rules(
        f_vjp=copied(f), clip_grad=copied(f), step_fwd=copied(f), _g_vjp=copied(f), _vjp=copied(f)
    )
    assert found(ours) == [("f", "vjp")]


def test_a_rule_without_its_reference_has_none() -> None:
    ours = with_rules(f_vjp=copied(f))
    theirs = module("theirs", f=copied(f))
    assert verify.discover(ours, theirs)[0].reference is theirs.f
    assert verify.discover(ours, module("empty"))[0].reference is None
    assert verify.discover(ours, "numeric")[0].reference is None


def test_a_derivative_alone_needs_its_function_or_a_reference() -> None:
    (rule,) = verify.discover(module("ours", f_vjp=copied(f)))
    verdict = verify.examine(rule, kept=None)
    assert verdict.verdict == "error"
    assert "neither its function nor a reference" in verdict.reason


def test_a_module_without_rules_is_named() -> None:
    with pytest.raises(verify.DiscoveryError, match="empty holds no rule"):
        verify.discover(module("empty"), module("theirs"))


def test_a_derivative_by_itself_becomes_a_rule() -> None:
    rule = verify.as_rule(purenn.ops.activations.tanh_vjp, reference.ops.activations.sigmoids)
    assert rule.f is purenn.ops.activations.tanh
    assert rule.reference is reference.ops.activations.sigmoids.tanh
    with pytest.raises(verify.DiscoveryError, match=r"reference.ops.linear has no function tanh"):
        verify.as_rule(purenn.ops.activations.tanh_vjp, "reference.ops.linear")


def shifted(x: Float[Array, "n"], *, by: int) -> Array:
    return np.roll(x, by)


def shifted_vjp(x: Float[Array, "n"], *, by: int) -> Any:
    return shifted(x, by=by), lambda dy: (np.roll(dy, -by if by < 2 else by),)


def test_cases_stand_beside_the_reference_or_the_rule() -> None:
    by_one, by_two = [{"n": 3, "by": 1}], [{"n": 3, "by": 1}, {"n": 5, "by": 2}]
    ours = module("ours", shifted=shifted, shifted_vjp=shifted_vjp, shifted_cases=by_two)
    theirs = module("theirs", shifted=lambda x, *, by: jax.numpy.roll(x, by), shifted_cases=by_one)
    (alone,) = verify.discover(ours)
    (against,) = verify.discover(ours, theirs)
    assert alone.cases == tuple(by_two)
    assert against.cases == tuple(by_one)
    assert verify.examine(against, kept=None).verdict == "pass"
    refused = verify.examine(alone, kept=None)
    assert refused.verdict == "fail"
    assert "by=2" in refused.counterexample
