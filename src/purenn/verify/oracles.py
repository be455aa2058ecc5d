"""Whom a rule is compared with: the exact truth, JAX's autodiff, the jit-compiled equivalent."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import flint
import jax
import numpy as np
from flint import arb

from purenn.typing import Array, Shape
from purenn.verify import balls, exact
from purenn.verify.balls import Balls
from purenn.verify.rules import Rule

Cotangents = tuple[Array | None, ...]

# The bits at which differences of the truth stand for its derivative: the step is 2⁻⁶⁴.
_STEP, _STEP_BITS = 64, 160


class Answer(NamedTuple):
    """A value and its cotangents, ``None`` for integer arguments."""

    value: Array
    cotangents: Cotangents


class Truth(NamedTuple):
    """What is right, as balls, and how large the terms are that it is made of."""

    value: Balls
    cotangents: tuple[Balls | None, ...]
    value_scale: Array
    """|f| + |J|·|x|: what a relative error of the inputs makes of the value."""
    cotangent_scales: Cotangents
    """|J|ᵀ|dy|: for an elementwise rule the size of the cotangent itself."""


def is_floating(x: Array) -> bool:
    """Whether ``x`` has a cotangent."""
    return bool(jax.numpy.issubdtype(x.dtype, np.floating))


def autodiff(
    rule: Rule, primals: Sequence[Array], dy: Array, device: Any, jit: bool = True
) -> Answer:
    """``jax.vjp`` of the reference in the primals' dtype, compiled or operation by operation."""
    with (
        jax.enable_x64(True),
        jax.default_matmul_precision("highest"),
        jax.default_device(device),
    ):
        run = _compiled(rule) if jit else _vjp_of(rule)
        value, cotangents = run(tuple(jax.numpy.asarray(x) for x in primals), jax.numpy.asarray(dy))
    found = [
        np.asarray(c) if is_floating(x) else None for x, c in zip(primals, cotangents, strict=True)
    ]
    return Answer(np.asarray(value), tuple(found))


def nearby(
    rule: Rule, primals: Sequence[Array], dy: Array, device: Any, argument: int
) -> list[Array]:
    """One cotangent by autodiff, for inputs that are a few ULPs away.

    How many digits a formula loses at a point is partly luck; its neighbours tell.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(8):
        moved = [
            np.asarray(x * (1 + np.finfo(x.dtype).eps * rng.uniform(-4, 4, x.shape)), x.dtype)
            if is_floating(x)
            else x
            for x in primals
        ]
        found.append(autodiff(rule, moved, dy, device).cotangents[argument])
    return [dx for dx in found if dx is not None]


def truth(rule: Rule, primals: Sequence[Array], dy: Array) -> Truth:
    """The value and cotangents as the exact derivative of the reference has them."""
    value, jacobians = _exact_jacobians(rule, primals)
    with flint.ctx.workprec(_STEP_BITS):
        weights = balls.from_floats(dy)
        sizes = balls.absolute(weights)
        value_scale = balls.absolute(value)
        for x, j in zip(primals, jacobians, strict=True):
            if j is not None:
                by_x = np.moveaxis(balls.absolute(j), range(x.ndim), range(-x.ndim, 0))
                value_scale = value_scale + _contract(balls.absolute(balls.from_floats(x)), by_x)
        return Truth(
            value,
            tuple(None if j is None else _contract(weights, j) for j in jacobians),
            balls.nearest(value_scale),
            tuple(
                None if j is None else balls.nearest(_contract(sizes, balls.absolute(j)))
                for j in jacobians
            ),
        )


def sensitivity(rule: Rule, primals: Sequence[Array], dy: Array, argument: int) -> Array:
    """Σ over all x of |∂(Jᵀdy)/∂x|·‖x‖∞: what relative errors of the inputs do to one cotangent.

    In exact arithmetic a quotient of differences is as good as a derivative.
    """
    step = arb(2) ** -_STEP

    def cotangent(at: Sequence[Array | Balls]) -> Balls:
        return _contract(balls.from_floats(dy), _exact_jacobians(rule, at, _STEP_BITS)[1][argument])

    with flint.ctx.workprec(2 * _STEP_BITS):
        here = cotangent(primals)
        total = np.zeros(here.shape)
        for i, x in enumerate(primals):
            for place in np.ndindex(x.shape) if is_floating(x) else ():
                moved: list[Any] = [*primals]
                moved[i] = balls.from_floats(x)
                moved[i][place] += step
                slope = balls.absolute(cotangent(moved) - here) / step
                total += balls.nearest(slope) * float(np.max(np.abs(x)))
    return total


def _exact_jacobians(
    rule: Rule, primals: Sequence[Array | Balls], bits: int = 80
) -> tuple[Balls, list[Balls | None]]:
    """The value, and per floating argument ∂y/∂x as balls of shape (*x.shape, *y.shape)."""
    floating = [balls.is_number(x) for x in primals]
    counts = [x.size if number else 0 for x, number in zip(primals, floating, strict=True)]
    directions = np.split(np.eye(sum(counts)), np.cumsum(counts)[:-1], axis=1)
    tangents = [
        block.reshape((sum(counts), *x.shape)) if number else None
        for x, block, number in zip(primals, directions, floating, strict=True)
    ]
    shapes = tuple((x.shape, number) for x, number in zip(primals, floating, strict=True))
    (result,) = exact.evaluate(_trace(rule, shapes), primals, tangents, bits)
    columns = result.tangents
    if columns is None:
        columns = balls.zeros((sum(counts), *result.value.shape))
    return result.value, [
        block.reshape((*x.shape, *result.value.shape)) if number else None
        for x, block, number in zip(
            primals, np.split(columns, np.cumsum(counts)[:-1]), floating, strict=True
        )
    ]


def _contract(weights: Balls, jacobian: Balls) -> Balls:
    """Σ over the trailing axes of ``jacobian``, those of ``weights``."""
    axes = tuple(range(jacobian.ndim - weights.ndim, jacobian.ndim))
    return np.asarray(np.add.reduce(jacobian * weights, axis=axes, initial=arb(0)), object)


@cache
def _trace(rule: Rule, shapes: tuple[tuple[Shape, bool], ...]) -> Any:
    with jax.enable_x64(True):
        examples = [np.zeros(shape, np.float64 if number else np.int32) for shape, number in shapes]
        return jax.make_jaxpr(lambda *xs: rule.reference(*xs, **dict(rule.static)))(*examples)


@cache
def _compiled(rule: Rule) -> Callable[..., Any]:
    return jax.jit(_vjp_of(rule))


def _vjp_of(rule: Rule) -> Callable[..., Any]:
    def run(primals: tuple[Any, ...], dy: Any) -> Any:
        value, pullback = jax.vjp(lambda *xs: rule.reference(*xs, **dict(rule.static)), *primals)
        return value, pullback(dy)

    return run
