"""What rounding of the inputs alone does to a result: it is no fault of the rule."""

from collections.abc import Sequence
from contextlib import suppress

import flint
import jax
import numpy as np
from flint import arb

from purenn.typing import Array
from purenn.verify import balls, exact, rivals
from purenn.verify.balls import Balls
from purenn.verify.calls import is_wide, quietly
from purenn.verify.examples import Example, is_differentiable
from purenn.verify.oracles import Oracle, remembered, trace_of
from purenn.verify.truths import (
    Leaves,
    derivatives,
    is_nothing,
    pulled_back,
    pushed,
    pushed_scale,
    truth,
)

# More inputs than this are moved together, eight times at random, which finds about as much.
_SINGLY = 32
_CALM = 9

# A factor as large as this is all that another argument is allowed to be.
_LONGEST = 128.0
_STEP = arb(2) ** -64
_BITS = 160


@remembered
def of_cotangents(oracle: Oracle, example: Example) -> Leaves:
    """Per argument Σ over all x of |∂(Jᵀdy)/∂x|·‖x‖∞: what relative errors of x do to it.

    Only its size matters, so that quotients of differences in float64 will do.
    """
    wide = _in_float64(example)
    if oracle.kind == "numeric":
        return _changes(oracle, wide, wide, 1e-3)
    plain = _changes(oracle, wide, wide, 1e-8)
    if all(np.max(np.abs(x), initial=0.0) < 1e6 for x in wide.arrays if is_differentiable(x)):
        return plain
    # Where x is large, a derivative may change over less than the plain step.
    fine = _changes(oracle, wide, wide, 2.0**-50)
    pairs = zip(plain, fine, strict=True)
    return [None if a is None or b is None else np.fmax(a, b) for a, b in pairs]


def _changes(oracle: Oracle, start: Example, example: Example, step: float) -> Leaves:
    """The changes of Jᵀdy at ``start``, over moves as long as the arrays of ``example``."""
    estimated = oracle.kind == "numeric"
    pull = _estimated if estimated else _by_autodiff
    here = pull(oracle, start)
    total = [None if dx is None else np.zeros(dx.shape) for dx in here]
    for moves in _moves(example.arrays, 0 if estimated else _SINGLY):
        moved = [
            x if move is None else np.asarray(x + step * move)
            for x, move in zip(start.arrays, moves, strict=True)
        ]
        there = pull(oracle, start.moved(moved))
        for sizes, a, b in zip(total, here, there, strict=True):
            if sizes is not None and a is not None and b is not None:
                with np.errstate(invalid="ignore"):
                    change = np.abs(b - a) / step
                sizes += np.where(np.isfinite(change), change, 0.0)
    return total


def _by_autodiff(oracle: Oracle, example: Example) -> Leaves:
    return rivals.autodiff(oracle, example, jax.devices("cpu")[0]).cotangents


def _estimated(oracle: Oracle, example: Example) -> Leaves:
    dys = [None if is_nothing(dy) else balls.from_floats(dy) for dy in example.cotangents]
    found = [pulled_back(dys, row) for row in derivatives(oracle, example)[1]]
    return [None if dx is None else balls.nearest(dx) for dx in found]


@remembered
def on_the_way(oracle: Oracle, example: Example) -> Leaves:
    """Per argument |Jᵀdy| and what errors of x do to it, at the largest on the way from the origin.

    A formula for a derivative that vanishes is left with the rounding of what it was before: 1 − y²
    with that of 1, for tanh. What is made of several such functions may vanish all along the way,
    so it is as large as it is at most of some calm inputs, too.
    """
    wide = _in_float64(example)
    largest = [np.zeros(x.shape) if is_differentiable(x) else None for x in wide.arrays]
    for start in _on_the_way(wide):
        found = _by_autodiff(oracle, start)
        moving = _changes(oracle, start, wide, 1e-2)  # long enough to take no kink for a curve
        for total, dx, change in zip(largest, found, moving, strict=True):
            if total is not None and dx is not None and change is not None:
                terms = np.abs(dx) + change
                np.fmax(total, np.where(np.isfinite(terms), terms, 0.0), out=total)
    rng = np.random.default_rng(0)
    calm = [_by_autodiff(oracle, wide.moved(_calm(wide.arrays, rng))) for _ in range(_CALM)]
    sizes_of_x = (np.max(np.abs(x), initial=1.0) for x in wide.arrays if is_differentiable(x))
    longest = min(max(sizes_of_x, default=1.0), _LONGEST)
    for total, *dxs in zip(largest, *calm, strict=True):
        if total is not None:
            sizes = np.nan_to_num(np.abs(np.stack(dxs)), posinf=0.0)  # outside of the domain
            np.fmax(total, np.quantile(sizes, 0.75, axis=0) * longest, out=total)
    return largest


def calm_value(oracle: Oracle, example: Example) -> float:
    """How large the function is at most of some calm inputs."""
    rng = np.random.default_rng(0)
    function = example.structure.flat(oracle.function)
    sizes = []
    with quietly(is_wide(example)):
        for _ in range(_CALM):
            with suppress(Exception):  # outside of the domain
                leaves = map(np.asarray, function(*_calm(example.arrays, rng)))
                values = [np.abs(y).ravel() for y in leaves if is_differentiable(y)]
                sizes.append(np.max(np.nan_to_num(np.concatenate(values), posinf=0.0), initial=0.0))
    return float(np.quantile(sizes, 0.75)) if sizes else 0.0


def _calm(arrays: Sequence[Array], rng: np.random.Generator) -> list[Array]:
    """Numbers below 1, of the signs that these have."""
    return [
        np.asarray(np.copysign(rng.random(x.shape), x), x.dtype) if is_differentiable(x) else x
        for x in arrays
    ]


def _on_the_way(example: Example) -> list[Example]:
    """The example halfway to the origin, there, and twice with each number somewhere between."""
    rng = np.random.default_rng(0)
    found = []
    for part in (0.5, 0.0, None, None):
        arrays = [
            np.asarray(x * (rng.random(x.shape) if part is None else part), x.dtype)
            if is_differentiable(x)
            else x
            for x in example.arrays
        ]
        found.append(example.moved(arrays))
    return found


def _in_float64(example: Example) -> Example:
    arrays = [np.asarray(x, np.float64) if is_differentiable(x) else x for x in example.arrays]
    dys = [np.asarray(dy, np.float64) if is_differentiable(dy) else dy for dy in example.cotangents]
    wide = example._replace(dtype="float64", cotangents=tuple(dys))
    return wide.moved(arrays)


def of_tangent(oracle: Oracle, example: Example, v: Sequence[Array | None], leaf: int) -> Array:
    """Σ over all x of |∂(J·v)/∂x|·‖x‖∞: what relative errors of the inputs do to a tangent."""
    shape = example.cotangents[leaf].shape
    if oracle.kind != "exact":
        return _of_estimated_tangent(oracle, _in_float64(example), v, leaf)
    trace = trace_of(oracle.function, example.structure, example.dtype)
    tangents = [None if t is None else np.asarray(t, np.float64)[None] for t in v]

    def tangent(at: Sequence[Array | Balls]) -> Balls:
        with quietly(True):
            dual = exact.evaluate(trace, at, tangents, _BITS)[leaf]
        return balls.zeros(shape) if dual.tangents is None else dual.tangents[0]

    with flint.ctx.workprec(2 * _BITS):
        here = tangent(example.arrays)
        total = np.zeros(shape)
        for moves in _moves(example.arrays, _SINGLY):
            moved = [
                x
                if move is None
                else np.asarray(balls.from_floats(x) + balls.from_floats(move) * _STEP, object)
                for x, move in zip(example.arrays, moves, strict=True)
            ]
            total += balls.least((tangent(moved) - here) / _STEP)
    return total


def _of_estimated_tangent(
    oracle: Oracle, example: Example, v: Sequence[Array | None], leaf: int
) -> Array:
    step = 1e-3

    def tangent(at: Example) -> Array:
        column = [row[leaf] for row in derivatives(oracle, at)[1]]
        return balls.nearest(pushed(v, column, at.cotangents[leaf].shape))

    here = tangent(example)
    total = np.zeros(here.shape)
    for moves in _moves(example.arrays, 0):
        moved = [
            x if move is None else np.asarray(x + step * move)
            for x, move in zip(example.arrays, moves, strict=True)
        ]
        with suppress(Exception):  # outside of the domain
            change = np.abs(tangent(example.moved(moved)) - here) / step
            total += np.where(np.isfinite(change), change, 0.0)
    return total


def of_value(oracle: Oracle, example: Example, leaf: int) -> Array:
    """The largest |f| where all inputs are moved by 1 or by as much as they are.

    A formula whose terms cancel here is left with their rounding; this is how large they are. So
    is |J|·|x| with the J on the way from the origin: of x·(1 + tanh x), x remains.
    """
    shape = example.cotangents[leaf].shape
    found = np.zeros(shape)
    if oracle.kind != "exact":
        return found

    def count(sizes: Array) -> None:
        np.fmax(found, np.where(np.isfinite(sizes), np.abs(sizes), 0.0), out=found)

    trace = trace_of(oracle.function, example.structure, example.dtype)
    for side in (-1.0, 1.0):
        moved = [
            np.asarray(x + side * np.maximum(np.abs(x), 1), x.dtype) if is_differentiable(x) else x
            for x in example.arrays
        ]
        with suppress(ArithmeticError), quietly(True):
            dual = exact.evaluate(trace, moved, [None] * len(moved), 20)[leaf]
            count(balls.nearest(dual.value))
    count(pushed_on_the_way(oracle, example, example.arrays, leaf))
    return found


def pushed_on_the_way(
    oracle: Oracle, example: Example, v: Sequence[Array | None], leaf: int
) -> Array:
    """|J|·|v| at its largest on the way from the origin, and at most of some calm inputs."""
    shape = example.cotangents[leaf].shape
    moving = [t if is_differentiable(x) else None for t, x in zip(v, example.arrays, strict=True)]

    def terms(at: Example) -> Array:
        sizes = np.zeros(shape)
        with suppress(Exception):  # outside of the domain
            sizes = pushed_scale(truth(oracle, at), leaf, moving, shape)
        return np.where(np.isfinite(sizes), sizes, 0.0)

    rng = np.random.default_rng(0)
    calm = [terms(example.moved(_calm(example.arrays, rng))) for _ in range(_CALM)]
    on_the_way = [terms(start) for start in _on_the_way(example)]
    return np.asarray(np.maximum.reduce([np.quantile(calm, 0.75, axis=0), *on_the_way]))


def _moves(arrays: Sequence[Array], singly: int) -> list[list[Array | None]]:
    """The directions in which inputs are moved, as long as the largest of each argument."""
    moving = [i for i, x in enumerate(arrays) if is_differentiable(x) and x.size]
    sizes = {i: float(np.max(np.abs(arrays[i]))) for i in moving}
    if sum(arrays[i].size for i in moving) > singly:
        rng = np.random.default_rng(0)
        return [
            [
                np.asarray(rng.choice([-1, 1], x.shape) * sizes[i]) if i in moving else None
                for i, x in enumerate(arrays)
            ]
            for _ in range(8)
        ]
    found = []
    for i in moving:
        for place in np.ndindex(arrays[i].shape):
            move = np.zeros(arrays[i].shape)
            move[place] = sizes[i]
            found.append([move if j == i else None for j in range(len(arrays))])
    return found
