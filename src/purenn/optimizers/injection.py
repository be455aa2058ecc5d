"""Hyperparameters in the state: scheduled, or changed by hand between steps."""

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from purenn import tree
from purenn.contract import check_floating_dtype, check_function, check_number
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers._common import Schedule, check_state, counted, steps, zero
from purenn.optimizers._sweep import Sweep
from purenn.optimizers.base import GradientTransformation, advance, swept
from purenn.tree import Tree
from purenn.typing import Array


class WrappedScheduleState(NamedTuple):
    """The number of steps that a schedule is at, int32."""

    count: Array  # type: ignore[assignment]


class InjectStatefulHyperparamsState(NamedTuple):
    """Hyperparameters, and the state of the transformation that is made of them.

    Attributes:
        count: The number of steps, int32.
        hyperparams: The numbers by name, 0-d arrays. Those that have no schedule may be changed.
        hyperparams_states: The states of the schedules by name.
        inner_state: That of the transformation.
    """

    count: Array  # type: ignore[assignment]
    hyperparams: dict[str, Any]
    hyperparams_states: dict[str, WrappedScheduleState]
    inner_state: Any


def inject_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DTypeLike | None = None,
) -> Callable[..., GradientTransformation]:
    """Make a factory that takes a schedule for any hyperparameter, and keeps all in the state.

        optimizer = inject_hyperparams(adam)(0.001, b1=linear_schedule(0.8, 0.9, 1000))
        opt_state = optimizer.init(params)
        opt_state.hyperparams["learning_rate"] = 0.0005

    Numbers and functions are hyperparameters, a function being a schedule of the number of steps
    taken before; bools, types and all else go to the factory as they are, and so does an argument
    whose default is a function. What has a schedule cannot be changed by hand: each update writes
    it anew.

    Args:
        inner_factory: Makes the transformation, as :func:`purenn.optimizers.adam`.
        static_args: Arguments that go to the factory as they are, as a mask that is a function.
        hyperparam_dtype: The dtype of hyperparameters that are no ints; if None the widest of the
            parameters', and at least float32.

    Raises:
        DtypeError: ``inner_factory`` is no function, ``static_args`` are no names, or
            ``hyperparam_dtype`` is no floating dtype; the factory raises it for an array with axes
            or a function that is no schedule, and the update where a value is no number.
        DomainError: ``inner_factory`` has no argument of a name in ``static_args``; what it raises
            for a value outside its domain, the factory, ``init`` and the update raise.
        TreeError: the update raises it where the state has other hyperparameters.
    """
    name = "inject_hyperparams"
    check_function(name, "inner_factory", inner_factory)
    check_floating_dtype(name, "hyperparam_dtype", hyperparam_dtype)
    signature = inspect.signature(inner_factory)
    names = [static_args] if isinstance(static_args, str) else static_args
    names = [*names] if isinstance(names, Iterable) else [None]
    if not all(isinstance(key, str) for key in names):
        raise DtypeError(f"{name}: static_args is {static_args!r}, expected names of arguments")
    static = {*names}
    if not static <= {*signature.parameters}:
        raise DomainError(
            f"{name}: static_args has {sorted(static - {*signature.parameters})}, expected some of "
            f"{[*signature.parameters]}"
        )
    for key, parameter in signature.parameters.items():
        if parameter.default is not parameter.empty and callable(parameter.default):
            static.add(key)

    @wraps(inner_factory)
    def factory(*args: Any, **kwargs: Any) -> GradientTransformation:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        schedules: dict[str, Schedule] = {}
        numbers: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for key, value in bound.arguments.items():
            if key in static or isinstance(value, bool | np.bool_ | type):
                others[key] = value
            elif callable(value):
                schedules[key] = value
            elif isinstance(value, int | float | np.number | np.ndarray):
                numbers[key] = _number(name, key, value, np.float64)
            else:
                others[key] = value

        def made(hyperparams: dict[str, Any]) -> GradientTransformation:
            return inner_factory(**others, **{key: x.item() for key, x in hyperparams.items()})

        def values(given: dict[str, Any], counts: dict[str, int], dtypes: Any) -> dict[str, Any]:
            dtype = hyperparam_dtype or np.result_type(np.float32, *dtypes)
            found = {key: _number(name, key, given[key], dtype) for key in numbers}
            for key, schedule in schedules.items():
                found[key] = _scheduled(name, key, schedule, counts[key], dtype)
            return found

        def init(params: Tree) -> InjectStatefulHyperparamsState:
            tree.check_floats(name, "params", params)
            dtypes = [p.dtype for p in tree.leaves(params)]
            found = values(numbers, dict.fromkeys(schedules, 0), dtypes)
            states = {key: WrappedScheduleState(zero()) for key in schedules}
            return InjectStatefulHyperparamsState(zero(), found, states, made(found).init(params))

        def sweep(
            run: Sweep, state: InjectStatefulHyperparamsState
        ) -> InjectStatefulHyperparamsState:
            check_state(name, state, InjectStatefulHyperparamsState)
            expected = numbers.keys() | schedules.keys()
            if state.hyperparams.keys() != expected:
                raise TreeError(
                    f"{name}: opt_state.hyperparams has {sorted(state.hyperparams)}, expected "
                    f"{sorted(expected)}"
                )
            if state.hyperparams_states.keys() != schedules.keys():
                raise TreeError(
                    f"{name}: opt_state.hyperparams_states has "
                    f"{sorted(state.hyperparams_states)}, expected {sorted(schedules)}"
                )
            counts = {
                key: steps(name, its.count, f'hyperparams_states["{key}"].count')
                for key, its in state.hyperparams_states.items()
            }
            found = values(state.hyperparams, counts, run.dtypes())
            return InjectStatefulHyperparamsState(
                counted(steps(name, state.count) + 1),
                found,
                {key: WrappedScheduleState(counted(n + 1)) for key, n in counts.items()},
                advance(made(found), run, state.inner_state),
            )

        first = made(values(numbers, dict.fromkeys(schedules, 0), [np.dtype(np.float64)]))
        return swept(init, sweep, type(first))

    return factory


def _scheduled(name: str, key: str, schedule: Schedule, step: int, dtype: DTypeLike) -> Array:
    try:
        return _number(name, f"{key}({step})", schedule(step), dtype)
    except (TypeError, AttributeError, LookupError) as error:
        told = error if isinstance(error, DtypeError) else f"{name}: {key}({step}) raises {error!r}"
        raise DtypeError(
            f"{told}; a function is a schedule of the step unless static_args has {key!r}"
        ) from error


def _number(name: str, argument: str, value: Any, dtype: DTypeLike) -> Array:
    """A 0-d array: an int as it is, all else in the dtype."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return np.asarray(value)
    return np.asarray(check_number(name, argument, value), dtype)
