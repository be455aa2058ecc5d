"""Whom a rule is compared with: the exact truth, JAX's autodiff, the jit-compiled equivalent."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import flint
import jax
import numpy as np
from flint import arb
from jax.extend.core import ClosedJaxpr

from purenn.typing import Array, Shape
from purenn.verify import exact
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

    value: Array
    cotangents: Cotangents
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
    """``jax.vjp`` of the reference in the dtype of the primals, compiled or operation by operation."""
    with (
        jax.enable_x64(True),
        jax.default_matmul_precision("highest"),
        jax.default_device(device),
    ):
        run = _compiled(rule) if jit else _vjp_of(rule)
        value, cotangents = run(tuple(jax.numpy.asarray(x) for x in primals), jax.numpy.asarray(dy))
    found = [
        np.asarray(c) if is_floating(x) else None
        for x, c in zip(primals, cotangents, strict=True)
    ]
    return Answer(np.asarray(value), tuple(found))


def truth(rule: Rule, primals: Sequence[Array], dy: Array) -> Truth:
    """The value and cotangents as the exact derivative of the reference has them."""
    value, jacobians = _exact_jacobians(rule, primals)
    with flint.ctx.workprec(256):
        weights = exact.balls(dy)
        cotangents = [None if j is None else _contract(weights, j) for j in jacobians]
        scales = [None if j is None else _contract(exact.absolute(weights), exact.absolute(j)) for j in jacobians]
        value_scale = exact.absolute(value)
        for x, j in zip(primals, jacobians, strict=True):
            if j is not None:
                sizes = np.reshape(exact.absolute(exact.balls(x)), (*x.shape, *[1] * dy.ndim))
                axes = tuple(range(x.ndim))
                value_scale = value_scale + np.sum(exact.absolute(j) * sizes, axis=axes, initial=arb(0))
    return Truth(
        value,
        tuple(cotangents),
        exact.nearest(np.asarray(value_scale, object)),
        tuple(None if s is None else exact.nearest(s) for s in scales),
    )


def sensitivities(rule: Rule, primals: Sequence[Array], dy: Array) -> Cotangents:
    """Σ over arguments of |∂(Jᵀdy)/∂x|·‖x‖∞: what relative errors of the inputs make of Jᵀdy.

    In exact arithmetic a quotient of differences is as good as a derivative.
    """
    step = arb(2) ** -_STEP
    _, at = _exact_jacobians(rule, primals, _STEP_BITS)
    with flint.ctx.workprec(2 * _STEP_BITS):
        weights = exact.balls(dy)
        here = [None if j is None else _contract(weights, j) for j in at]
        sums = [None if h is None else np.zeros(h.shape) for h in here]
        for i, x in enumerate(primals):
            if not is_floating(x) or not x.size:
                continue
            largest = float(np.max(np.abs(x)))
            for place in np.ndindex(x.shape):
                moved = [exact.balls(p) if is_floating(p) else p for p in primals]
                moved[i][place] += step
                _, there = _exact_jacobians(rule, moved, _STEP_BITS)
                for total, a, b in zip(sums, here, there, strict=True):
                    if total is not None and a is not None and b is not None:
                        slope = exact.nearest(abs(_contract(weights, b) - a) / step)
                        total += slope * largest
    return tuple(sums)


def _exact_jacobians(
    rule: Rule, primals: Sequence[Array], bits: int = 80
) -> tuple[Array, list[Array | None]]:
    """The value, and per floating argument ∂y/∂x as balls of shape (*x.shape, *y.shape)."""
    floating = [exact.is_number(x) for x in primals]
    counts = [x.size if number else 0 for x, number in zip(primals, floating, strict=True)]
    tangents: list[Array | None] = []
    for i, x in enumerate(primals):
        block = np.zeros((sum(counts), counts[i]))
        block[sum(counts[:i]) : sum(counts[: i + 1])] = np.eye(counts[i])
        tangents.append(block.reshape((sum(counts), *x.shape)) if floating[i] else None)
    shapes = tuple((x.shape, floating[i]) for i, x in enumerate(primals))
    (result,) = exact.evaluate(_trace(rule, shapes), primals, tangents, bits)
    columns = result.tangents
    if columns is None:
        columns = exact.balls(np.zeros((sum(counts), *result.value.shape)))
    blocks = np.split(columns, np.cumsum(counts)[:-1])
    return result.value, [
        block.reshape((*x.shape, *result.value.shape)) if number else None
        for x, block, number in zip(primals, blocks, floating, strict=True)
    ]


def _contract(dy: Array, jacobian: Array) -> Array:
    axes = tuple(range(jacobian.ndim - dy.ndim, jacobian.ndim))
    return np.asarray(np.sum(jacobian * dy, axis=axes, initial=arb(0)), object)


@cache
def _trace(rule: Rule, shapes: tuple[tuple[Shape, bool], ...]) -> ClosedJaxpr:
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
