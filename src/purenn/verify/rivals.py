"""Whom a rule is compared with: JAX's autodiff of the reference, compiled or not."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import balls, floats
from purenn.verify.calls import is_wide, quietly
from purenn.verify.examples import Example, Structure, is_differentiable
from purenn.verify.oracles import Oracle, joined, split
from purenn.verify.truths import Leaves, Truth, truth

Function = Callable[..., Any]


class Answer(NamedTuple):
    """A value and its cotangents by autodiff."""

    value: list[Array]
    cotangents: Leaves


class Errors(NamedTuple):
    """How far an answer is from the truth, in absolute numbers."""

    value: list[Array]
    cotangents: Leaves


def autodiff(
    oracle: Oracle,
    example: Example,
    device: Any,
    jit: bool = True,
) -> Answer:
    """``jax.vjp`` of the reference in the primals' dtype, compiled or operation by operation."""
    with quietly(is_wide(example)), jax.default_device(device):
        structure = example.structure
        run = _compiled(oracle.function, structure) if jit else _vjp(oracle.function, structure)
        moving, fixed = split(example.arrays)
        value, found = run(moving, fixed, list(example.cotangents))
        cotangents = iter([np.asarray(dx) for dx in found])
    return Answer(
        [np.asarray(y) for y in value],
        [next(cotangents) if is_differentiable(x) else None for x in example.arrays],
    )


@cache
def _compiled(function: Function, structure: Structure) -> Function:
    return jax.jit(_vjp(function, structure))


def _vjp(function: Function, structure: Structure) -> Function:
    flat = structure.flat(function)

    def run(moving: list[Any], fixed: list[Any], dys: list[Any]) -> Any:
        value, pullback = jax.vjp(lambda *xs: flat(*joined(structure, xs, fixed)), *moving)
        return value, pullback(dys)

    return run


def less_lucky(oracle: Oracle, example: Example, device: Any) -> list[Errors]:
    """The errors of autodiff uncompiled, and at eight inputs and dy that hardly differ.

    How many digits a formula loses at a point is partly luck; its neighbours tell. Each is held
    against its own truth.
    """
    rng = np.random.default_rng(0)
    found = [_errors(autodiff(oracle, example, device, jit=False), truth(oracle, example))]
    for _ in range(8):
        moved = [_nudged(x, rng, 4 * _eps(x)) for x in example.arrays]
        dys = [_nudged(dy, rng, 0.25) for dy in example.cotangents]
        neighbour = example._replace(
            primals=example.structure.primals(moved), cotangents=tuple(dys)
        )
        found.append(_errors(autodiff(oracle, neighbour, device), truth(oracle, neighbour)))
    return found


def _errors(answer: Answer, exact: Truth) -> Errors:
    return Errors(
        [balls.distance(y, ball) for y, ball in zip(answer.value, exact.value, strict=True)],
        [
            None if dx is None or ball is None else balls.distance(dx, ball)
            for dx, ball in zip(answer.cotangents, exact.cotangents, strict=True)
        ],
    )


def _eps(x: Array) -> float:
    return floats.eps(x.dtype) if is_differentiable(x) else 0.0


def _nudged(x: Array, rng: np.random.Generator, by: float) -> Array:
    if not is_differentiable(x):
        return x
    with np.errstate(over="ignore"):
        return np.asarray(x * (1 + by * rng.uniform(-1, 1, x.shape)), x.dtype)


def jvp(oracle: Oracle, example: Example, tangents: Sequence[Array]) -> list[Array]:
    """``jax.jvp`` of the reference in the primals' dtype."""
    flat = example.structure.flat(oracle.function)
    with quietly(is_wide(example)):
        return [np.asarray(t) for t in jax.jvp(flat, example.arrays, list(tangents))[1]]
