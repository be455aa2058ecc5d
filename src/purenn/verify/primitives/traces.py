"""Traces are run equation by equation; calls, branches and loops are traces within traces."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from purenn.verify.primitives import Dual, Ties, apply, enter, of_numbers
from purenn.verify.primitives.choices import select
from purenn.verify.primitives.duals import linear
from purenn.verify.primitives.rays import sharpened


def call(trace: Any, inputs: Sequence[Dual]) -> list[Dual]:
    """The results of a trace; each call in it stands for itself."""
    if _is_of_numbers(trace):
        return sharpened(partial(_run, trace), inputs)
    return _run(trace, inputs, None)


def _run(trace: Any, inputs: Sequence[Dual], ties: Ties | None) -> list[Dual]:
    """The results; where ``ties`` are given, they hold in the calls too."""
    jaxpr, consts = getattr(trace, "jaxpr", trace), getattr(trace, "consts", ())
    known: dict[Any, Dual] = {}

    def read(atom: Any) -> Dual:
        return Dual(enter(atom.val), None) if isinstance(atom, Literal) else known[atom]

    known.update(zip(jaxpr.constvars, (Dual(enter(c), None) for c in consts), strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))
    for equation in jaxpr.eqns:
        name, arguments = equation.primitive.name, [read(atom) for atom in equation.invars]
        if name in _CALLS:
            inner = body(equation)
            results = call(inner, arguments) if ties is None else _run(inner, arguments, ties)
        elif name in _CONTROL:
            results = _CONTROL[name](equation, arguments)
        else:
            results = apply(equation, arguments, ties or Ties.EVERY_SIDE)
        known.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


# Calls whose body is a trace of its own.
_CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"),
    *("checkpoint", "remat", "remat2"),
}


def is_call(equation: Any) -> bool:
    """Whether an equation is a call of a trace within the trace."""
    return equation.primitive.name in _CALLS


def body(equation: Any) -> Any:
    """The trace that an equation calls."""
    params = equation.params.values()
    return next(value for value in params if isinstance(value, ClosedJaxpr | Jaxpr))


@lru_cache(maxsize=1024)
def _is_of_numbers(trace: Any) -> bool:
    return all(
        _is_of_numbers(body(equation))
        if equation.primitive.name in _CALLS
        else of_numbers(equation)
        for equation in trace.eqns
    )


def _cond(equation: Any, inputs: Sequence[Dual]) -> list[Dual]:
    """The branch that is taken; where a tie decides that, with the tangents of the other too."""
    index, *operands = inputs
    branches = equation.params["branches"]
    taken = call(branches[int(index.value)], operands)
    if index.nearby is None:
        return taken
    others = [
        call(branch, operands) if any(may.contains(k) for may in index.nearby.flat) else taken
        for k, branch in enumerate(branches)
    ]
    return [select(index, cases) for cases in zip(*others, strict=True)]


def _while(equation: Any, inputs: Sequence[Dual]) -> list[Dual]:
    params = equation.params
    ends = np.cumsum([params["cond_nconsts"], params["body_nconsts"]])
    for_condition, for_body, state = inputs[: ends[0]], inputs[ends[0] : ends[1]], inputs[ends[1] :]
    while call(params["cond_jaxpr"], [*for_condition, *state])[0].value:
        state = call(params["body_jaxpr"], [*for_body, *state])
    return [*state]


def _scan(equation: Any, inputs: Sequence[Dual]) -> list[Dual]:
    """A loop over those last inputs that have an axis more than the body takes."""
    params = equation.params
    body, steps = params["jaxpr"], range(params["length"])
    inner = getattr(body, "jaxpr", body)
    rows = [x for x, part in zip(inputs, inner.invars, strict=True) if _rank(x) > _rank(part.aval)]
    outputs = [variable.aval for variable in equation.outvars]
    carried = sum(
        _rank(y) == _rank(part.aval) for y, part in zip(outputs, inner.outvars, strict=True)
    )
    first = len(inputs) - len(rows) - carried
    consts, state = inputs[:first], [*inputs[first : first + carried]]
    stacks: list[list[Dual]] = []
    for i in reversed(steps) if params["reverse"] else steps:
        row = [linear(lambda x, i=i: x[i], [x]) for x in rows]
        results = call(body, [*consts, *state, *row])
        state = results[:carried]
        stacks.append(results[carried:])
    if params["reverse"]:
        stacks.reverse()
    if not stacks:
        return state + [Dual(enter(np.zeros(y.shape, y.dtype)), None) for y in outputs[carried:]]
    ys = [linear(lambda *parts: np.stack(parts), parts) for parts in zip(*stacks, strict=True)]
    return state + ys


def _rank(x: Any) -> int:
    return len((x.value if isinstance(x, Dual) else x).shape)


_CONTROL: dict[str, Callable[[Any, Sequence[Dual]], list[Dual]]] = {
    "cond": _cond,
    "while": _while,
    "scan": _scan,
}
