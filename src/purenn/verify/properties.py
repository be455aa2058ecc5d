"""What must hold without any oracle: the contract of ``jax.vjp``, purity, a second call."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from purenn.typing import Array
from purenn.verify.oracles import Answer, is_floating


class Failure(AssertionError):
    """What is wrong with a rule, in words."""


def call(f_vjp: Callable[..., Any], primals: Sequence[Array], dy: Array) -> Answer:
    """The rule's answer, all properties of the call checked on the way.

    Raises:
        Failure: the result is no ``(y, pullback)``, the pullback's no tuple of one cotangent per
            argument in its primal's shape and dtype, an argument was written to, or a second
            call gives other bits.
    """
    given = [x.copy() for x in (*primals, dy)]
    result = f_vjp(*primals)
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise Failure(f"returned {_describe(result)}, expected the pair (y, pullback)")
    y, pullback = result
    if not isinstance(y, np.ndarray) or y.shape != dy.shape or y.dtype != dy.dtype:
        raise Failure(f"y is {_describe(y)}, expected {_describe(dy)}")
    cotangents = pullback(dy)
    for x, before in zip((*primals, dy), given, strict=True):
        if x.tobytes() != before.tobytes():
            raise Failure("an argument or dy was written to")
    _check_cotangents(primals, cotangents)
    again = pullback(dy)
    afresh = f_vjp(*primals)[1](dy)
    for i, first in enumerate(cotangents):
        if first is None:
            continue
        for other, what in ((again[i], "the pullback"), (afresh[i], "the rule")):
            if first.tobytes() != other.tobytes():
                raise Failure(f"cotangent {i}: a second call of {what} gives other bits")
    return Answer(y, cotangents)


def _check_cotangents(primals: Sequence[Array], cotangents: Any) -> None:
    if not isinstance(cotangents, tuple):
        raise Failure(
            f"the pullback returned {_describe(cotangents)}, expected a tuple, one per argument"
        )
    if len(cotangents) != len(primals):
        raise Failure(
            f"the pullback returned {len(cotangents)} cotangents, expected {len(primals)}"
        )
    for i, (x, dx) in enumerate(zip(primals, cotangents, strict=True)):
        if not is_floating(x):
            if dx is not None:
                raise Failure(f"cotangent {i} is {_describe(dx)}, expected None for integers")
        elif not isinstance(dx, np.ndarray) or dx.shape != x.shape or dx.dtype != x.dtype:
            raise Failure(f"cotangent {i} is {_describe(dx)}, expected {_describe(x)}")


def _describe(x: object) -> str:
    if isinstance(x, np.ndarray):
        return f"an array of shape {x.shape} and dtype {x.dtype}"
    return f"a {type(x).__name__}"
