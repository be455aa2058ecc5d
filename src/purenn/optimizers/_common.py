"""What most transformations need: rates, counts and the trees that they remember."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from purenn import tree
from purenn.contract import check_number
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.schedules import ValidationSchedule
from purenn.schedules._step import check_bool, without_dimensions
from purenn.tree import Path, Tree
from purenn.typing import Array

Schedule: TypeAlias = Callable[[int], float]
ScalarOrSchedule: TypeAlias = float | int | Array | Schedule
"""A number, which may be in an array without dimensions, or a function of the number of steps taken
before, as of :mod:`purenn.schedules`."""


def check_scalar_or_schedule(name: str, argument: str, value: ScalarOrSchedule) -> None:
    """Refuse what is neither a schedule nor a finite number that is not negative."""
    if isinstance(value, ValidationSchedule):
        raise DtypeError(
            f"{name}: {argument} is a ValidationSchedule, which follows a score and no steps; "
            "inject_hyperparams puts a number into the state, and training.with_hyperparams "
            "changes it there"
        )
    if callable(value):
        return
    try:
        check_number(name, argument, without_dimensions(value), ge=0)
    except DtypeError:
        raise DtypeError(
            f"{name}: {argument} is {value!r}, expected a number or a schedule"
        ) from None


def scalar_at(name: str, argument: str, value: ScalarOrSchedule, count: int) -> float:
    """The number, or what the schedule gives at this step."""
    if not callable(value):
        return float(value)
    return check_number(name, f"{argument}({count})", without_dimensions(value(count)), ge=0)


def check_bools(name: str, **values: object) -> None:
    """Refuse options that are no bools."""
    for argument, value in values.items():
        check_bool(name, argument, value)


def check_state(name: str, state: object, expected: type) -> None:
    """Refuse the state of another transformation."""
    if type(state) is not expected:
        got, wanted = type(state).__name__, expected.__name__
        if got == wanted:  # that of another library
            got, wanted = (f"{kind.__module__}.{got}" for kind in (type(state), expected))
        raise TreeError(f"{name}: opt_state is a {got}, expected {wanted}")


def zero() -> Array:
    """A count of no steps."""
    return np.zeros((), np.int32)


def steps(name: str, count: Any, field: str = "count") -> int:
    """How many steps a count says, which is in this field of the state.

    Raises:
        DtypeError: it is no integer.
        DomainError: it is negative.
    """
    if getattr(count, "shape", None) != () or count.dtype.kind != "i":
        raise DtypeError(f"{name}: opt_state.{field} is {count!r}, expected a 0-d array of int32")
    number = int(count)
    if number < 0:
        raise DomainError(f"{name}: opt_state.{field} is {number}, expected at least 0")
    return number


def counted(number: int) -> Array:
    """A count of so many steps; it stays where int32 ends, as in optax."""
    return np.array(min(number, 2**31 - 1), np.int32)


def full_like(
    name: str,
    params: Tree,
    value: float = 0.0,
    *,
    dtype: DTypeLike | None = None,
    squares: bool = False,
) -> Tree:
    """A tree to remember something per parameter.

    Args:
        name: Who remembers.
        params: Parameters.
        value: What it starts with.
        dtype: The dtype, if not that of each parameter.
        squares: Whether it is for squares of gradients, which float16 cannot hold.

    Raises:
        DtypeError: a parameter is no array of a floating dtype; the message has its path.
    """
    tree.check_floats(name, "params", params)

    def leaf(path: Path, p: Any) -> Array:
        if squares and p.dtype == np.float16:
            raise DtypeError(
                f"{name}: params{tree.show(path)} has dtype float16, in which squares below 6e-8 "
                "are 0; expected float32, float64 or bfloat16"
            )
        return np.full(p.shape, value, dtype or p.dtype)

    return tree.map_with_path(leaf, params)
