"""The truth: a function's JAX trace, evaluated and differentiated in ball arithmetic.

Autodiff is exact in exact arithmetic. So the trace of the reference's *forward* function is run
equation by equation on balls (a midpoint and a proven bound on the error: Arb, through
python-flint), with tangents carried along by the chain rule. The bits are doubled until every
result is sharp: the error of the truth is proven, not believed. None of JAX's derivative rules
takes part, which hold rounded constants and tricks of their own; this is a third telling.

At a kink the tangent is the ball that holds both one-sided derivatives: every value in it is
right.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import flint
from flint import arb
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from purenn.typing import Array
from purenn.verify.balls import MOST_BITS
from purenn.verify.primitives import BlurredError, Dual, apply, enter

_FIRST_BITS = 128

# Less than this, a number is 0 in any dtype.
_NOTHING = arb(2) ** -1200

# Calls whose body is a trace of its own.
_CALLS = {"jit", "pjit", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint", "closed_call"}


def evaluate(
    trace: ClosedJaxpr,
    arguments: Sequence[Array],
    tangents: Sequence[Array | None],
    bits: int = 80,
) -> list[Dual]:
    """The results of ``trace`` with their tangents, sharp to ``bits`` relative bits.

    ``tangents`` has one array (directions, *shape) per argument, ``None`` for no tangent.

    Raises:
        UnknownPrimitiveError: a primitive without an exact rule.
        ArithmeticError: no number of bits decides a comparison, as between equal irrationals.
    """
    precision = _FIRST_BITS
    before: list[arb] = []
    while precision <= MOST_BITS:
        with flint.ctx.workprec(precision):
            inputs = [
                Dual(enter(x), None if t is None else enter(t))
                for x, t in zip(arguments, tangents, strict=True)
            ]
            precision *= 2
            try:
                results = _run(trace.jaxpr, trace.consts, inputs)
            except BlurredError:
                continue
            errors = _errors(results, bits)
            # An error that more bits do not lessen is a kink's ball, meant to be wide.
            lessened = [bool(2 * e < b) for e, b in zip(errors, before or errors, strict=True)]
            if not any(errors) or (before and not any(lessened)):
                return results
            before = errors
    raise ArithmeticError(f"{MOST_BITS} bits do not decide the result")


def _errors(results: Iterable[Dual], bits: int) -> list[arb]:
    """The radii of the balls that are not sharp, 0 for those that are."""
    arrays = [a for dual in results for a in dual if a is not None and a.dtype == object]
    return [
        arb(0) if ball.rel_accuracy_bits() >= bits or abs(ball).upper() < _NOTHING else ball.rad()
        for array in arrays
        for ball in array.flat
    ]


def _run(jaxpr: Jaxpr, consts: Sequence[Any], arguments: Sequence[Dual]) -> list[Dual]:
    known: dict[Any, Dual] = {}

    def read(atom: Any) -> Dual:
        return Dual(enter(atom.val), None) if isinstance(atom, Literal) else known[atom]

    known.update(zip(jaxpr.constvars, (Dual(enter(c), None) for c in consts), strict=True))
    known.update(zip(jaxpr.invars, arguments, strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        known.update(zip(equation.outvars, _apply(equation, inputs), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: Any, inputs: list[Dual]) -> list[Dual]:
    if equation.primitive.name not in _CALLS:
        return apply(equation, inputs)
    params = equation.params.values()
    body = next(value for value in params if isinstance(value, ClosedJaxpr))
    return _run(body.jaxpr, body.consts, inputs)
