"""Whom a rule is compared with: JAX's autodiff of the reference."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import balls, rounding
from purenn.verify.calls import is_wide, quietly
from purenn.verify.examples import Example, Structure, is_differentiable
from purenn.verify.oracles import Oracle, joined, split
from purenn.verify.truths import Leaves, Truth

Function = Callable[..., Any]

_RUNS = 8


class Answer(NamedTuple):
    """A value and its cotangents by autodiff."""

    value: list[Array]
    cotangents: Leaves


class Errors(NamedTuple):
    """How far an answer is from the truth, in absolute numbers."""

    value: list[Array]
    cotangents: Leaves


def autodiff(oracle: Oracle, example: Example, device: Any) -> Answer:
    """``jax.vjp`` of the reference in the primals' dtype, compiled.

    What JAX can only differentiate outside of ``jit``, such as a window that begins with an array
    of zeros, is not compiled.
    """
    with quietly(is_wide(example)), jax.default_device(device):
        moving, fixed = split(example.arrays)
        run = _compiled(oracle.function, example.structure)
        dys = list(example.cotangents)
        try:
            value, cotangents = run(moving, fixed, dys)
        except Exception:
            value, cotangents = _vjp(oracle.function, example.structure)(moving, fixed, dys)
        return _answer(example, value, iter(cotangents))


@cache
def _compiled(function: Function, structure: Structure) -> Function:
    return jax.jit(_vjp(function, structure))


def _vjp(function: Function, structure: Structure) -> Function:
    flat = structure.flat(function)

    def run(moving: list[Any], fixed: list[Any], dys: list[Any]) -> Any:
        value, pullback = jax.vjp(lambda *xs: flat(*joined(structure, xs, fixed)), *moving)
        return value, pullback(dys)

    return run


def less_lucky(oracle: Oracle, example: Example, device: Any, exact: Truth) -> list[Errors]:
    """The errors of autodiff where every result on the way is rounded at random, if it compiles."""
    count = len(exact.value)
    return [
        _errors(_answer(example, results[:count], iter(results[count:])), exact)
        for results in _at_random(_vjp, oracle, example, device, list(example.cotangents))
    ]


def less_lucky_jvp(
    oracle: Oracle, example: Example, tangents: Sequence[Array]
) -> list[list[Array]]:
    """``jax.jvp`` where every result on the way is rounded at random, if it compiles."""
    device = jax.devices("cpu")[0]
    return [list(t) for t in _at_random(_jvp, oracle, example, device, list(tangents))]


def _at_random(
    derivative: Function, oracle: Oracle, example: Example, device: Any, along: list[Array]
) -> list[tuple[Array, ...]]:
    """The results of several runs."""
    moving, fixed = split(example.arrays)
    rng = np.random.default_rng(0)
    with quietly(is_wide(example)), jax.default_device(device):
        try:
            run = _rounded(derivative, oracle.function, example.structure)
            ways = [rounding.directions(rng) for _ in range(_RUNS)]
            return [tuple(map(np.asarray, run(moving, fixed, along, way))) for way in ways]
        except Exception:
            return []


@cache
def _rounded(derivative: Function, function: Function, structure: Structure) -> Function:
    run = derivative(function, structure)

    def rounded(moving: list[Any], fixed: list[Any], along: list[Any], directions: Any) -> Any:
        trace = jax.make_jaxpr(run)(moving, fixed, along)
        return rounding.run(trace, [*moving, *fixed, *along], directions)

    # It runs so seldom that it is compiling which costs.
    return jax.jit(rounded, compiler_options={"xla_backend_optimization_level": 0})


def _answer(example: Example, value: Sequence[Any], cotangents: Iterator[Any]) -> Answer:
    return Answer(
        [np.asarray(y) for y in value],
        [np.asarray(next(cotangents)) if is_differentiable(x) else None for x in example.arrays],
    )


def _errors(answer: Answer, exact: Truth) -> Errors:
    return Errors(
        [balls.distance(y, ball) for y, ball in zip(answer.value, exact.value, strict=True)],
        [
            None if dx is None or ball is None else balls.distance(dx, ball)
            for dx, ball in zip(answer.cotangents, exact.cotangents, strict=True)
        ],
    )


def _jvp(function: Function, structure: Structure) -> Function:
    flat = structure.flat(function)

    def run(moving: list[Any], fixed: list[Any], tangents: list[Any]) -> Any:
        return jax.jvp(flat, joined(structure, moving, fixed), tangents)[1]

    return run


def jvp(oracle: Oracle, example: Example, tangents: Sequence[Array]) -> list[Array]:
    """``jax.jvp`` of the reference in the primals' dtype."""
    flat = example.structure.flat(oracle.function)
    with quietly(is_wide(example)):
        return [np.asarray(t) for t in jax.jvp(flat, example.arrays, list(tangents))[1]]
