"""What a rule does on infinite and NaN inputs: looked at apart, and only told."""

from typing import Any

import numpy as np

from purenn.verify import calls, reproduce, rivals
from purenn.verify.annotations import Signature
from purenn.verify.calls import Outputs
from purenn.verify.examples import Example, is_differentiable
from purenn.verify.oracles import Oracle
from purenn.verify.record import Record
from purenn.verify.rules import Rule


def look(
    rule: Rule,
    example: Example,
    outputs: Outputs,
    signature: Signature,
    told: Oracle,
    device: Any,
    record: Record,
) -> None:
    """Note where the reference is finite on an input with infinities or NaN and the rule is not."""
    if told.kind == "numeric" or rule.convention == "jvp":
        return
    if all(np.isfinite(x).all() for x in example.arrays if is_differentiable(x)):
        return
    try:
        ours = calls.call(rule, example, outputs, signature)
    except Exception as error:
        record.saw("not finite", "undecided", f"raises where the reference does not: {error}")
        return
    theirs = rivals.autodiff(told, example, device)
    pairs = [("y", a, b) for a, b in zip(ours.value, theirs.value, strict=True)]
    pairs += [
        (f"d{name}", a, b)
        for name, a, b in zip(example.paths, ours.cotangents, theirs.cotangents, strict=True)
        if a is not None and b is not None
    ]
    for name, a, b in pairs:
        if not is_differentiable(a):
            continue
        worse = np.isfinite(b) & ~np.isfinite(a)
        if worse.any():
            place = tuple(int(k) for k in np.argwhere(worse)[0])
            inputs = ", ".join(
                f"{n} = {reproduce.literal(x)}"
                for n, x in zip(example.names, example.primals, strict=True)
            )
            record.saw(
                "not finite",
                "undecided",
                f"{reproduce.indexed(name, place)} is {a[place]!s} and the reference gives "
                f"{b[place]!s} at {inputs}",
            )
            return
    record.saw("not finite")
