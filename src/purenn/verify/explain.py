"""The likeliest mistake behind a failure."""

from functools import partial
from typing import Any

from purenn.typing import Array
from purenn.verify import balls, mutants, truths
from purenn.verify.examples import Example
from purenn.verify.oracles import Oracle
from purenn.verify.primitives import UnknownPrimitiveError
from purenn.verify.record import Record


def explain(told: Oracle, record: Record) -> str:
    """The likeliest mistake, if a known one gives the same numbers."""
    try:
        return mutants.explain(
            [
                mutants.Answered(
                    one.arrays,
                    list(one.cotangents),
                    list(answer.cotangents),
                    partial(_true_vjp, told, one),
                )
                for one, answer in (*record.failing, *record.telling)
            ]
        )
    except (UnknownPrimitiveError, ArithmeticError):
        return ""


def _true_vjp(told: Oracle, example: Example, xs: list[Array]) -> Any:
    here = example._replace(primals=example.structure.primals(xs))
    value = truths.truth(told, here).value

    def pullback(dys: list[Array]) -> list[Array | None]:
        truth = truths.truth(told, here._replace(cotangents=tuple(dys)))
        return [None if dx is None else balls.nearest(dx) for dx in truth.cotangents]

    return [balls.nearest(y) for y in value], pullback
