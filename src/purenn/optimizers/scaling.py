"""Updates times a number: constant, scheduled, or the learning rate."""

from typing import NamedTuple

from purenn import tree
from purenn.contract import check_function, check_number
from purenn.optimizers._common import (
    ScalarOrSchedule,
    Schedule,
    check_bools,
    check_scalar_or_schedule,
    check_state,
    counted,
    scalar_at,
    steps,
    zero,
)
from purenn.optimizers._sweep import Sweep
from purenn.optimizers.base import GradientTransformation, identity, stateless, swept
from purenn.schedules._step import without_dimensions
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByScheduleState(NamedTuple):
    """How many steps were taken, int32."""

    count: Array  # type: ignore[assignment]  # optax's name hides tuple.count


def scale(step_size: float | int) -> GradientTransformation:
    """Multiply by a number.

    Args:
        step_size: The number, finite.

    Raises:
        DomainError: it is not finite.
        DtypeError: it is no number.
    """
    factor = check_number("scale", "step_size", step_size)
    return stateless("scale", lambda run: run.scale(factor))


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Multiply by what a schedule gives for the number of steps taken before.

    Args:
        step_size_fn: ``count -> number``.

    Raises:
        DtypeError: it is no function. The update raises it where the function gives no number,
            and DomainError where that is not finite.
    """
    name = "scale_by_schedule"
    check_function(name, "step_size_fn", step_size_fn)

    def init(params: Tree) -> ScaleByScheduleState:
        tree.check_floats(name, "params", params)
        return ScaleByScheduleState(zero())

    def sweep(run: Sweep, state: ScaleByScheduleState) -> ScaleByScheduleState:
        check_state(name, state, ScaleByScheduleState)
        count = steps(name, state.count)
        run.scale(
            check_number(name, f"step_size_fn({count})", without_dimensions(step_size_fn(count)))
        )
        return ScaleByScheduleState(counted(count + 1))

    return swept(init, sweep)


def scale_by_learning_rate(
    learning_rate: ScalarOrSchedule | None = None, *, flip_sign: bool = True
) -> GradientTransformation:
    """Multiply by −η, which makes gradients into a descent.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0; None leaves the updates as
            they are, and does not turn them around either, as in optax.
        flip_sign: Whether to turn them around.

    Raises:
        DomainError: η is negative or not finite; the update raises it where a schedule gives such.
        DtypeError: η is neither a number nor a function.
    """
    if learning_rate is None:
        return identity()
    name = "scale_by_learning_rate"
    check_scalar_or_schedule(name, "learning_rate", learning_rate)
    check_bools(name, flip_sign=flip_sign)
    sign = -1 if flip_sign else 1
    if not callable(learning_rate):
        return scale(sign * float(learning_rate))
    schedule = learning_rate
    return scale_by_schedule(lambda count: sign * scalar_at(name, "learning_rate", schedule, count))
