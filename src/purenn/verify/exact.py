"""The truth: a function's JAX trace, evaluated and differentiated in ball arithmetic.

Autodiff is exact in exact arithmetic. So the trace of the reference's *forward* function is run
equation by equation on balls (a midpoint and a proven bound on the error: Arb, through
python-flint), with tangents carried along by the chain rule. The bits are doubled until every
result is sharp: the error of the truth is proven, not believed. None of JAX's derivative rules
takes part, which hold rounded constants and tricks of their own; this is a third telling.

At a kink the tangent is the ball that holds both one-sided derivatives: every value in it is
right. A function of single numbers, as an activation is, has the sides that it has as a whole. Of
what is composed beyond that, each part may take any side of its own, as pullbacks that are
composed of the parts' do.
"""

from collections.abc import Iterable, Sequence

import flint
import jax
from flint import arb
from jax.extend.core import ClosedJaxpr

from purenn.typing import Array
from purenn.verify.balls import MOST_BITS, Balls
from purenn.verify.primitives import BlurredError, Dual, enter
from purenn.verify.primitives.traces import call

_FIRST_BITS = 128

# Less than this, a number is 0 in any dtype.
_NOTHING = arb(2) ** -1200


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
    cpu = jax.devices("cpu")[0]
    while precision <= MOST_BITS:
        with flint.ctx.workprec(precision), jax.enable_x64(True), jax.default_device(cpu):
            inputs = [
                Dual(enter(x), None if t is None else enter(t))
                for x, t in zip(arguments, tangents, strict=True)
            ]
            precision *= 2
            try:
                results = call(trace, inputs)
            except BlurredError:
                continue
            errors = _errors(results, bits)
            # An error that more bits do not lessen is a kink's ball, meant to be wide.
            lessened = [bool(2 * e < b) for e, b in zip(errors, before or errors, strict=True)]
            if all(e == 0 for e in errors) or (before and not any(lessened)):
                return results
            before = errors
    raise ArithmeticError(f"{MOST_BITS} bits do not decide the result")


def _errors(results: Iterable[Dual], bits: int) -> list[arb]:
    """The radii of the balls that are not sharp, 0 for those that are."""
    arrays: list[Balls] = [y.value for y in results if y.value.dtype == object]
    arrays += [y.tangents for y in results if y.tangents is not None]
    return [
        arb(0) if ball.rel_accuracy_bits() >= bits or abs(ball).upper() < _NOTHING else ball.rad()
        for array in arrays
        for ball in array.flat
    ]
