"""What is right: value and derivatives as balls, and how large the terms are that they sum."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flint
import jax
import numpy as np
from flint import arb

from purenn.typing import Array, Shape
from purenn.verify import balls, exact, numeric
from purenn.verify.analytic import takes_conjugates
from purenn.verify.balls import Balls
from purenn.verify.calls import quietly
from purenn.verify.examples import Example, Structure, is_differentiable
from purenn.verify.oracles import Function, Oracle, joined, remembered, split, trace_of

Leaves = list[Array | None]

_BITS = 160


class Truth(NamedTuple):
    """What is right, as balls, and how large the terms are that it is made of."""

    value: list[Balls]
    jacobians: list[list[Balls | None]]
    """Per argument, per leaf of the value: ∂y/∂x of shape (*x.shape, *y.shape)."""
    value_scales: list[Array]
    """|f| + |J|·|x|: what a relative error of the inputs makes of the value."""
    cotangents: list[Balls | None]
    cotangent_scales: Leaves
    """|J|ᵀ|dy|: for an elementwise rule the size of the cotangent itself."""


@remembered
def truth(oracle: Oracle, example: Example) -> Truth:
    """The value and cotangents as the derivative of the forward function has them."""
    value, jacobians = derivatives(oracle, example)
    with flint.ctx.workprec(_BITS):
        dys = [None if is_nothing(dy) else balls.from_floats(dy) for dy in example.cotangents]
        value_scales = [
            balls.absolute(y) if y.dtype == object else balls.zeros(y.shape) for y in value
        ]
        for x, row in zip(example.arrays, jacobians, strict=True):
            for k, j in enumerate(row):
                if j is not None and value[k].dtype == object:
                    by_x = np.moveaxis(balls.absolute(j), range(x.ndim), range(-x.ndim, 0))
                    sizes = balls.absolute(balls.from_floats(x))
                    value_scales[k] = value_scales[k] + _contract(sizes, by_x)
        return Truth(
            value,
            jacobians,
            [balls.nearest(scale) for scale in value_scales],
            [pulled_back(dys, row) for row in jacobians],
            [
                None if size is None else balls.nearest(size)
                for size in (_sizes(dys, row) for row in jacobians)
            ],
        )


def pulled_back(dys: Sequence[Balls | None], row: Sequence[Balls | None]) -> Balls | None:
    """Σ over the leaves of the value: Jᵀdy."""
    terms = [
        _contract(dy, j) for dy, j in zip(dys, row, strict=True) if dy is not None and j is not None
    ]
    return sum(terms[1:], terms[0]) if terms else None


def _sizes(dys: Sequence[Balls | None], row: Sequence[Balls | None]) -> Balls | None:
    return pulled_back(
        [None if dy is None else balls.absolute(dy) for dy in dys],
        [None if j is None else balls.absolute(j) for j in row],
    )


def directional(
    oracle: Oracle, example: Example, truth: Truth, v: Sequence[Array | None]
) -> list[Balls]:
    """J·v, with the tangents carried along together: at a tie of a maximum they share it."""
    if oracle.kind != "exact":
        with flint.ctx.workprec(_BITS):
            found = [
                pushed(v, [row[k] for row in truth.jacobians], dy.shape)
                for k, dy in enumerate(example.cotangents)
            ]
        if oracle.kind != "numeric" or not any(np.any(_blurred(ball)) for ball in found):
            return found
        return [
            np.asarray(_sharper(one, other), object)
            for one, other in zip(found, _along(oracle, example, v), strict=True)
        ]
    trace = trace_of(oracle.function, example.structure, example.dtype)
    tangents = [None if t is None else np.asarray(t, np.float64)[None] for t in v]
    with quietly(True):
        results = exact.evaluate(trace, example.arrays, tangents)
    return [
        balls.zeros(dual.value.shape) if dual.tangents is None else dual.tangents[0]
        for dual in results
    ]


def _along(oracle: Oracle, example: Example, v: Sequence[Array | None]) -> list[Balls]:
    """J·v as the derivative of t ↦ f(x + t·v), which a kink off that line does not touch."""
    function = example.structure.flat(oracle.function)

    def moved(ts: Sequence[Any]) -> list[Any]:
        pairs = zip(example.arrays, v, strict=True)
        return function(*[x if t is None else x.astype(np.float64) + ts[0] * t for x, t in pairs])

    with quietly(True):
        found = numeric.jacobians(moved, [np.zeros(())])
    pairs = zip(found.estimates[0], found.errors[0], strict=True)
    return [_around(middle, error) for middle, error in pairs]


_blurred = balls.lift(lambda ball: ball.rel_accuracy_bits() < 16 and ball.rad() > 0)
_sharper = balls.lift(lambda a, b: b if b.is_finite() and not a.rad() <= b.rad() else a, 2)


def pushed_scale(truth: Truth, leaf: int, v: Sequence[Array | None], shape: Shape) -> Array:
    """|J|·|v|: the size of the terms of a tangent."""
    with flint.ctx.workprec(_BITS):
        column = [
            None if row[leaf] is None else balls.absolute(row[leaf]) for row in truth.jacobians
        ]
        return balls.nearest(pushed([None if t is None else np.abs(t) for t in v], column, shape))


def pushed(v: Sequence[Array | None], column: Sequence[Balls | None], shape: Shape) -> Balls:
    """Σ over the arguments: J·v, one leaf of the value."""
    total = balls.zeros(shape)
    for t, j in zip(v, column, strict=True):
        if t is not None and j is not None:
            by_x = np.moveaxis(j, range(t.ndim), range(-t.ndim, 0))
            total = np.asarray(total + _contract(balls.from_floats(t), by_x), object)
    return total


def one_sided(
    oracle: Oracle, example: Example, argument: int, place: tuple[int, ...]
) -> tuple[float, float]:
    """An entry of a cotangent just to the left and just to the right of an input."""
    dys = [None if is_nothing(dy) else balls.from_floats(dy) for dy in example.cotangents]
    found = []
    for side in (-1, 1):
        moved: list[Any] = [*example.arrays]
        moved[argument] = balls.from_floats(moved[argument])
        with flint.ctx.workprec(2 * _BITS):
            moved[argument][place] += side * arb(2) ** -_BITS
            rows = _exact_jacobians(oracle, example.structure, moved, example.dtype)[1]
            dx = pulled_back(dys, rows[argument])
        found.append(float(balls.nearest(dx)[place]))
    return found[0], found[1]


def derivatives(oracle: Oracle, example: Example) -> tuple[list[Balls], list[list[Balls | None]]]:
    """The leaves of the value, and per argument and leaf ∂y/∂x as balls."""
    if oracle.kind == "exact":
        return _exact_jacobians(oracle, example.structure, example.arrays, example.dtype)
    function = example.structure.flat(oracle.function)
    moving, fixed = split(
        [np.asarray(x, np.float64) if is_differentiable(x) else x for x in example.arrays]
    )

    def of_moving(xs: Sequence[Any]) -> list[Any]:
        return function(*joined(example.structure, xs, fixed))

    with quietly(True):
        found = (
            numeric.jacobians(of_moving, moving, not takes_conjugates(oracle.function))
            if oracle.kind == "numeric"
            else (_float64(of_moving, moving))
        )
    rows = iter(
        [
            [_around(m, _but_ties(x, m, e)) for m, e in zip(middle, error, strict=True)]
            for x, middle, error in zip(moving, found.estimates, found.errors, strict=True)
        ]
    )
    # The function itself is the truth about its value, but for the rounding of its terms.
    # XLA takes subnormal terms for 0.
    tiny = 64 * float(np.finfo(np.float64).tiny)
    value = [_around(y, 1e-12 * np.abs(y) + tiny) for y in found.values]
    return value, [
        next(rows) if is_differentiable(x) else [None] * len(value) for x in example.arrays
    ]


def _but_ties(x: Array, middle: Array, error: Array) -> Array:
    """The errors, ∞ at a kink in an entry that equals two others.

    If it is sorted which counts, then what moves only one of three tells nothing of the middle one.
    """
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    tied = (counts[which] > 2).reshape(x.shape + (1,) * (middle.ndim - x.ndim))
    kink = error > 1e-3 * np.max(np.abs(middle), initial=0.0)
    return np.where(tied & kink, np.inf, error)


def _around(middle: Array, error: Array) -> Balls:
    pairs = zip(np.ravel(middle), np.ravel(error), strict=True)
    flat = np.empty(np.size(middle), object)
    flat[:] = [
        arb(float(m), float(e)) if np.isfinite(m) and np.isfinite(e) else arb("nan")
        for m, e in pairs
    ]
    return flat.reshape(np.shape(middle))


def _float64(function: Function, xs: list[Array]) -> numeric.Jacobians:
    """Jacobians by autodiff in float64, forwards and backwards, here and around here."""
    every = list(range(len(xs)))
    values = [np.asarray(y) for y in function(xs)]
    rng = np.random.default_rng(0)
    answers = []
    for by in (0.0, 1e-11, 1e-11, 1e-11, 1e-11):
        at = [x + by * rng.choice([-1, 1], x.shape) * (np.abs(x) + 1e-20) for x in xs]
        for mode in (jax.jacfwd, jax.jacrev) if by == 0 else (jax.jacrev,):
            answers.append(mode(lambda *a: function(list(a)), argnums=every)(*at))
    estimates: list[list[Array]] = []
    errors: list[list[Array]] = []
    for i, x in enumerate(xs):
        estimates.append([])
        errors.append([])
        for k, y in enumerate(values):
            found = [np.asarray(answer[k][i]) for answer in answers]
            stack = np.stack([np.moveaxis(j, range(y.ndim), range(-y.ndim, 0)) for j in found])
            low, high = stack.min(axis=0), stack.max(axis=0)
            largest = np.max(np.abs(stack), initial=0.0)
            estimates[-1].append((low + high) / 2)
            errors[-1].append((high - low) / 2 + 1e-13 * largest + 0 * np.sum(x))
    return numeric.Jacobians(values, estimates, errors)


def _exact_jacobians(
    oracle: Oracle,
    structure: Structure,
    arrays: Sequence[Array | Balls],
    dtype: str,
    bits: int = 80,
) -> tuple[list[Balls], list[list[Balls | None]]]:
    floating = [is_differentiable(x) for x in arrays]
    counts = [x.size if moves else 0 for x, moves in zip(arrays, floating, strict=True)]
    splits = np.cumsum(counts)[:-1]
    directions = np.split(np.eye(sum(counts)), splits, axis=1)
    tangents = [
        block.reshape((sum(counts), *x.shape)) if moves else None
        for x, block, moves in zip(arrays, directions, floating, strict=True)
    ]
    trace = trace_of(oracle.function, structure, dtype)
    with quietly(True):
        results = exact.evaluate(trace, arrays, tangents, bits)
    rows: list[list[Balls | None]] = [[] for _ in arrays]
    for result in results:
        columns = result.tangents
        if columns is None:
            columns = balls.zeros((sum(counts), *result.value.shape))
        for row, x, block, moves in zip(
            rows, arrays, np.split(columns, splits), floating, strict=True
        ):
            row.append(block.reshape((*x.shape, *result.value.shape)) if moves else None)
    return [result.value for result in results], rows


def _contract(weights: Balls, jacobian: Balls) -> Balls:
    """Σ over the trailing axes of ``jacobian``, those of ``weights``."""
    axes = tuple(range(jacobian.ndim - weights.ndim, jacobian.ndim))
    return np.asarray(np.add.reduce(jacobian * weights, axis=axes, initial=arb(0)), object)


def is_nothing(dy: Array) -> bool:
    """Whether dy belongs to integers."""
    return not is_differentiable(dy)
