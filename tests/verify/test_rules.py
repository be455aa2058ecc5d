import types

import pytest

import purenn.ops
import reference.ops
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
    assert names == [
        "relu",
        "leaky_relu",
        "sigmoid",
        "tanh",
        "softplus",
        "silu",
        "gelu",
        "gelu",
        "softmax",
        "log_softmax",
        "dense",
        "softmax_cross_entropy",
        "softmax_cross_entropy_with_integer_labels",
        "sigmoid_binary_cross_entropy",
        "squared_error",
    ]
    assert [str(rule) for rule in by_name if rule.static] == [
        "gelu(approximate=False)",
        "gelu(approximate=True)",
    ]


def test_a_rule_without_its_function_or_its_reference_is_named() -> None:
    def f(x: Float[Array, " n"]) -> Array:
        return x

    def f_vjp(x: Float[Array, " n"]) -> Array:
        return x

    with pytest.raises(verify.DiscoveryError, match=r"ours.f_vjp needs ours.f, which is missing"):
        verify.discover(module("ours", f_vjp=f_vjp), module("theirs", f=f))
    with pytest.raises(verify.DiscoveryError, match=r"ours.f_vjp needs theirs.f, which is missing"):
        verify.discover(module("ours", f_vjp=f_vjp, f=f), module("theirs"))
    with pytest.raises(verify.DiscoveryError, match="empty holds no rule"):
        verify.discover(module("empty"), module("theirs"))
