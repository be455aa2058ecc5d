"""A trace with the luck taken out of it: what had to be rounded is rounded at random.

How many digits a formula loses at a point is partly luck: where the tanh of one library is 1 and
that of another the number before it, 1 − y² is 0 or 10⁻⁷. So each result that is not exact is
moved by a unit in the last place or not, at random (the stochastic arithmetic of Vignes, 1993).
The worst that comes of it in a few runs is what the formula can do.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Literal

from purenn.typing import Array
from purenn.verify import floats
from purenn.verify.primitives.smooth import SMOOTH
from purenn.verify.primitives.traces import body, is_call

_ROUNDED = {
    *(*SMOOTH, "integer_pow", "dot_general", "conv_general_dilated", "scatter-add"),
    *("reduce_sum", "reduce_prod", "reduce_window_sum", "cumsum", "cumprod", "cumlogsumexp"),
}

_PERIOD = 4093


def directions(rng: np.random.Generator) -> Array:
    """Where to round: up, down or not, for :func:`run`; the same twice over."""
    return np.tile(rng.integers(-1, 2, _PERIOD).astype(np.int8), 2)


def run(trace: Any, inputs: Sequence[Any], directions: Any) -> list[Any]:
    """The results of a trace, each one on the way rounded as ``directions`` have it."""
    steps = count()

    def rounded(y: Any, operands: Sequence[Any]) -> Any:
        """``y``, moved unless it is exact: 0, an operand, or the limit of a function."""
        if not jnp.issubdtype(y.dtype, jnp.floating):
            return y
        start = -97 * next(steps) % _PERIOD
        turns = 1 + y.size // (_PERIOD + 1)
        ways = lax.concatenate([directions] * turns, 0) if turns > 1 else directions
        ways = lax.reshape(lax.slice(ways, [start], [start + y.size]), y.shape)
        units = lax.mul(
            lax.convert_element_type(ways, y.dtype), lax.full_like(y, floats.eps(y.dtype))
        )
        moved = lax.add(y, lax.mul(y, units))
        for x in operands:
            if x.shape == y.shape and x.dtype == y.dtype:
                moved = lax.select(lax.eq(lax.abs(y), lax.abs(x)), y, moved)
        return moved

    return _run(trace, inputs, rounded)


def _run(trace: Any, inputs: Sequence[Any], rounded: Callable[..., Any]) -> list[Any]:
    jaxpr, consts = getattr(trace, "jaxpr", trace), getattr(trace, "consts", ())
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        aval: Any = atom.aval
        return jnp.asarray(atom.val, aval.dtype) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        if is_call(equation):
            results = _run(body(equation), operands, rounded)
        else:
            found = equation.primitive.bind(*operands, **equation.params)
            results = found if equation.primitive.multiple_results else [found]
            if equation.primitive.name in _ROUNDED:
                results = [rounded(y, [*operands, *_far(equation, operands)]) for y in results]
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _far(equation: Any, operands: Sequence[Any]) -> list[Any]:
    """What a function of one number is halfway to here; if the same, then it has arrived."""
    if len(operands) != 1 or equation.primitive.name not in SMOOTH:
        return []
    if not jnp.issubdtype(operands[0].dtype, jnp.floating):
        return []
    return [equation.primitive.bind(operands[0] / 2, **equation.params)]
