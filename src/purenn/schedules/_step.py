"""The door of a schedule: a function of the number of steps taken."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from purenn.contract import check_integer
from purenn.errors import DomainError, DtypeError
from purenn.typing import Array

Step: TypeAlias = int | np.integer[Any] | Array
"""Steps taken so far, from 0: an int, or a NumPy integer without dimensions."""

Schedule: TypeAlias = Callable[[Step], float]
"""A pure function of the step."""

Curve: TypeAlias = Callable[[int], float]
"""A schedule behind the door."""


def scheduled(name: str, curve: Curve) -> Schedule:
    """Put the door in front of ``curve``: it takes steps alone and gives finite numbers alone.

    Raises, when the returned function is called:
        DtypeError: the step is no integer, or an array of them.
        DomainError: the step is negative, or the value out of the range of float64.
    """

    def schedule(step: Step) -> float:
        taken = check_integer(name, "step", without_dimensions(step), least=0)
        try:
            value = curve(taken)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise DomainError(f"{name}: at step {taken} it is {value}, expected a finite one")
        return value

    return schedule


def check_bool(name: str, argument: str, value: object) -> None:
    """Refuse anything but a bool: ``"no"`` counts as true."""
    if not isinstance(value, bool | np.bool_):
        raise DtypeError(f"{name}: {argument} is {value!r}, expected a bool")


def without_dimensions(x: object) -> object:
    """The scalar in an array that has no dimensions; anything else as it is."""
    return x[()] if isinstance(x, np.ndarray) and x.ndim == 0 else x
