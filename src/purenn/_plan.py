"""Plans: second forms of a few rules, for networks so small that arithmetic is not what takes long.

``f_plan(*primals)`` stands beside ``f_vjp`` and looks at nothing of its arguments but their shapes
and dtypes, which the doors have let in before. What it makes keeps the arrays that it works in, and
does what the rule does, operation by operation: the results have the same bits.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from purenn.typing import Array


class Plan(NamedTuple):
    """A rule for given shapes and dtypes.

    Attributes:
        y: Where its value will be.
        forward: ``(*primals) -> None``, fills ``y``.
        backward: ``(*primals, dy, *cotangents) -> None``, fills the cotangents after ``forward``
            with the same primals; one that is ``None`` is not wanted.
    """

    y: Array
    forward: Callable[..., object]
    backward: Callable[..., object]


Planner: TypeAlias = Callable[..., Plan | None]
"""``(*primals) -> Plan`` for their shapes and dtypes; None where there is none for these."""


def plan_of(rule: Callable[..., Any]) -> Planner | None:
    """``f_plan`` for a rule ``f``: the function of that name in its module; None if none is."""
    module = sys.modules[getattr(rule, "__module__", __name__)]
    return getattr(module, f"{getattr(rule, '__name__', '')}_plan", None)
