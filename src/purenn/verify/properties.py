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
    try:
        return _call(f_vjp, primals, dy)
    except ValueError as error:
        if "read-only" in str(error):
            raise Failure("writes to an argument or to dy (here they are read-only)") from error
        raise


def _call(f_vjp: Callable[..., Any], primals: Sequence[Array], dy: Array) -> Answer:
    given = [x.copy() for x in (*primals, dy)]
    result = f_vjp(*primals)
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise Failure(f"returned {_describe(result)}, expected the pair (y, pullback)")
    y, pullback = _array(result[0]), result[1]
    check_like("y", y, dy)
    cotangents = pullback(dy)
    for x, before in zip((*primals, dy), given, strict=True):
        if x.tobytes() != before.tobytes():
            raise Failure("an argument or dy was written to")
    cotangents = _checked(primals, cotangents)
    again = _checked(primals, pullback(dy))
    y_afresh, pullback_afresh = f_vjp(*primals)
    if np.asarray(y_afresh).tobytes() != y.tobytes():
        raise Failure("y: a second call of the rule gives other bits")
    afresh = _checked(primals, pullback_afresh(dy))
    for i, first in enumerate(cotangents):
        if first is None:
            continue
        for other, what in ((again[i], "the pullback"), (afresh[i], "the rule")):
            if other is None or first.tobytes() != other.tobytes():
                raise Failure(f"cotangent {i}: a second call of {what} gives other bits")
    return Answer(y, cotangents)


def check_like(name: str, x: Any, like: Array) -> None:
    """Refuse ``x`` unless it is an array of the shape and dtype of ``like``."""
    if not isinstance(x, np.ndarray) or x.shape != like.shape or x.dtype != like.dtype:
        raise Failure(f"{name} is {_describe(x)}, expected {_describe(like)}")


def _array(x: Any) -> Any:
    """``x`` as an array if it is one by another name: NumPy makes a scalar of a 0-d one."""
    return np.asarray(x) if isinstance(x, np.generic) or hasattr(x, "__array__") else x


def _checked(primals: Sequence[Array], cotangents: Any) -> tuple[Array | None, ...]:
    if not isinstance(cotangents, tuple):
        raise Failure(
            f"the pullback returned {_describe(cotangents)}, expected a tuple, one per argument"
        )
    if len(cotangents) != len(primals):
        raise Failure(
            f"the pullback returned {len(cotangents)} cotangents, expected {len(primals)}"
        )
    arrays = tuple(_array(dx) for dx in cotangents)
    for i, (x, dx) in enumerate(zip(primals, arrays, strict=True)):
        if not is_floating(x):
            if dx is not None:
                raise Failure(f"cotangent {i} is {_describe(dx)}, expected None for integers")
        else:
            check_like(f"cotangent {i}", dx, x)
    return arrays


def _describe(x: object) -> str:
    if isinstance(x, np.ndarray):
        return f"an array of shape {x.shape} and dtype {x.dtype}"
    return f"a {type(x).__name__}"
