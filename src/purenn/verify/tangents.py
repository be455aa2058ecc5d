"""``f_jvp``, judged along a random direction."""

from functools import partial
from typing import Any

import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import assess, balls, calls, conditioning, floats, reproduce, rivals, truths
from purenn.verify.annotations import Signature
from purenn.verify.balls import Balls
from purenn.verify.calls import Failure, Outputs
from purenn.verify.examples import Example, is_differentiable
from purenn.verify.judge import Quantity
from purenn.verify.oracles import Oracle
from purenn.verify.record import Record
from purenn.verify.rules import Rule
from purenn.verify.truths import Truth


def look(
    rule: Rule,
    example: Example,
    outputs: Outputs,
    signature: Signature,
    told: Oracle,
    truth: Truth,
    record: Record,
) -> None:
    """Judge ``f_jvp`` on an example.

    Raises:
        Failure: it is wrong, or returns no ``(y, dy)``.
    """
    f_jvp = rule.jvp or rule.derivative
    v = assess.directions(example)[1]
    tangents = [
        np.zeros(x.shape, jax.dtypes.float0) if t is None else t.astype(x.dtype)
        for x, t in zip(example.arrays, v, strict=True)
    ]

    def run() -> Any:
        with calls.quietly(calls.is_wide(example)):
            primals = calls.given(example, signature)
            result = f_jvp(primals, example.structure.primals(tangents), **dict(example.static))
            if not (isinstance(result, tuple) and len(result) == 2):
                raise Failure(
                    "jvp", f"{rule.name}_jvp returned {calls.describe(result)}, expected (y, dy)"
                )
            calls.value_leaves(result[0], outputs, "y of the jvp")
            return calls.value_leaves(result[1], outputs, "dy of the jvp")

    found = assess.raising(run)
    exact = truths.directional(told, example, truth, v)
    for k, dy in enumerate(found):
        if not is_differentiable(dy):
            continue
        scale = truths.pushed_scale(truth, k, v, dy.shape)
        quantity = Quantity(
            "dy of the jvp" if len(found) == 1 else f"dy[{k}] of the jvp",
            dy,
            np.asarray(exact[k], object),
            scale,
            {} if told.kind == "numeric" else {"jax.jvp": rivals.jvp(told, example, tangents)[k]},
            partial(conditioning.of_tangent, told, example, v, k),
            partial(_less_lucky, told, example, tangents, exact, k),
            None
            if told.kind == "numeric"
            else partial(conditioning.pushed_on_the_way, told, example, v, k),
            rounding=2 * floats.eps(dy.dtype),
            exact=told.kind == "exact",
        )
        lines = [
            f"tangents = {reproduce.literal(example.structure.primals(tangents))}",
            f"y, t = {rule.name}_jvp(({', '.join(example.names)},), tangents)",
        ]
        try:
            assess.judged(quantity, record, "jvp", "t" if len(found) == 1 else f"t[{k}]")
        except Failure as failure:
            failure.lines = [*lines, *failure.lines]
            raise


def _less_lucky(
    told: Oracle, example: Example, tangents: list[Array], exact: list[Balls], k: int
) -> list[Array]:
    if told.kind == "numeric":
        return []
    return [
        balls.distance(found[k], exact[k])
        for found in rivals.less_lucky_jvp(told, example, tangents)
    ]
