"""What each JAX primitive does to balls and their tangents, exactly."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np

from purenn.verify.primitives import (
    arrays,
    choices,
    kinks,
    places,
    reductions,
    smooth,
    sorting,
    windows,
)
from purenn.verify.primitives.choices import Ties
from purenn.verify.primitives.duals import BlurredError, Dual, UnknownPrimitiveError, enter

__all__ = ["BlurredError", "Dual", "Ties", "UnknownPrimitiveError", "apply", "enter", "of_numbers"]

_Rule: TypeAlias = Callable[..., Any]


def apply(equation: Any, inputs: list[Dual], ties: Ties = Ties.EVERY_SIDE) -> list[Dual]:
    """The results of one equation of a trace.

    Raises:
        UnknownPrimitiveError: its primitive has no exact rule.
        BlurredError: a comparison needs more bits.
    """
    name, params = equation.primitive.name, equation.params
    if _is_for_jax(name, inputs):
        results = equation.primitive.bind(*[x.value for x in inputs], **params)
        several = equation.primitive.multiple_results
        return [Dual(enter(y), None) for y in (results if several else [results])]
    if name in _PIECEWISE:
        return [_PIECEWISE[name](params, ties, *inputs)]
    if name not in _RULES:
        raise UnknownPrimitiveError(f"no exact rule for the primitive {name!r}")
    results = _RULES[name](params, *inputs)
    return results if isinstance(results, list) else [results]


def of_numbers(equation: Any) -> bool:
    """Whether each number of the results is made of one number of each floating-point input."""
    name = equation.primitive.name
    floats = any(jax.numpy.issubdtype(x.aval.dtype, np.floating) for x in equation.invars)
    return not floats or name in _PIECEWISE or name in smooth.SMOOTH or name in _MOVES


def _is_for_jax(name: str, inputs: list[Dual]) -> bool:
    """Whether JAX itself is exact, as it is with integers, booleans and random keys."""
    if any(x.value.dtype == object for x in inputs):
        return False
    if any(isinstance(x.value, jax.Array) for x in inputs):
        return True
    jumps = any(x.nearby is not None for x in inputs)
    return name not in _ALSO_OF_INTEGERS and not (jumps and name in _OF_JUMPS)


def _compare(name: str) -> _Rule:
    return lambda p, t, a, b: choices.compare(name, a, b, t)


def _logic(function: _Rule) -> _Rule:
    return lambda p, t, *xs: choices.logic(function, *xs)


def _step(name: str) -> _Rule:
    return lambda p, t, x: kinks.step(name, x, t)


def _round(params: Any, ties: Ties, x: Dual) -> Dual:
    to_even = int(params["rounding_method"]) == int(jax.lax.RoundingMethod.TO_NEAREST_EVEN)
    return kinks.step("to_even" if to_even else "from_zero", x, ties)


def _rem(params: Any, ties: Ties, a: Dual, b: Dual) -> Dual:
    times = kinks.step("truncate", smooth.smooth("div", a, b), ties)
    return smooth.smooth("sub", a, smooth.smooth("mul", b, times))


# Functions of single numbers by pieces: of the parameters, of what a tie stands for, of inputs.
_PIECEWISE: dict[str, _Rule] = {
    **{name: _compare(name) for name in choices.OUTCOMES},
    "and": _logic(np.bitwise_and),
    "or": _logic(np.bitwise_or),
    "xor": _logic(np.bitwise_xor),
    "not": _logic(np.invert),
    "is_finite": lambda p, t, x: choices.is_finite(x),
    "select_n": lambda p, t, which, *cases: choices.select(which, cases),
    "max": lambda p, t, a, b: kinks.maximum(a, b, t),
    "min": lambda p, t, a, b: kinks.minimum(a, b, t),
    "abs": lambda p, t, x: kinks.magnitude(x, t),
    "clamp": lambda p, t, low, x, high: kinks.clamp(low, x, high, t),
    "floor": _step("floor"),
    "ceil": _step("ceil"),
    "sign": _step("sign"),
    "round": _round,
    "rem": _rem,
    "convert_element_type": arrays.convert,
    "stop_gradient": lambda p, t, x: Dual(x.value, None),
}

# All others, of the parameters and the inputs.
_RULES: dict[str, _Rule] = {
    **{name: lambda p, *xs, name=name: smooth.smooth(name, *xs) for name in smooth.SMOOTH},
    "integer_pow": lambda p, x: smooth.integer_power(p["y"], x),
    "polynomial": lambda p, *xs: smooth.polynomial(*xs),
    **arrays.RULES,
    **places.RULES,
    **reductions.RULES,
    **sorting.RULES,
    **windows.RULES,
}

# Of those, what is for single numbers too, but has parameters; and what only moves them.
_MOVES = {"integer_pow", "polynomial", *arrays.MOVES}

# JAX is as exact with integers, but slower.
_ALSO_OF_INTEGERS = {
    *("add", "sub", "mul", "and", "or", "xor", "not", "select_n", "convert_element_type"),
    *choices.OUTCOMES,
    *arrays.MOVES,
}

# What integers and booleans that may change make of what they go to.
_OF_JUMPS = {
    *("max", "min", "clamp", "neg", "reduce_sum", "cumsum", "reduce_and", "reduce_or"),
    *("reduce_max", "reduce_min", "argmax", "argmin", "sort", "top_k"),
    *("gather", "dynamic_slice", "dynamic_update_slice"),
}
