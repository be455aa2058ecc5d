"""One step of the optimizer, and the loop as a generator."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from purenn import random, tree
from purenn.errors import DomainError, DtypeError
from purenn.layers import Layer, State
from purenn.optimizers import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    apply_gradients,
)
from purenn.optimizers._blocks import PACK
from purenn.optimizers._sweep import Lent, Sweep
from purenn.optimizers._together import Gradient, Memory, NotTogetherError, Together, Vector
from purenn.optimizers.base import advance, check_transformation
from purenn.schedules._step import check_bool
from purenn.training._planned import InPlace
from purenn.training.objective import Batch, Objective, admit
from purenn.typing import Array, Key, Params, Shape

Metrics: TypeAlias = dict[str, Any]

Step: TypeAlias = "Callable[[TrainState, Batch], tuple[TrainState, Metrics]]"


class TrainState(NamedTuple):
    """All that a run goes on from: a tree of arrays.

    Attributes:
        params: Parameters of the model.
        state: What the model remembers without training it.
        opt_state: What the optimizer remembers.
        key: The key that every step folds its number into.
        step: Steps taken so far, int32.
    """

    params: Params
    state: State
    opt_state: Any
    key: Key
    step: Array


def check_train_state(name: str, value: object) -> None:
    """Refuse parameters, say, in the place of all that a run goes on from."""
    if not isinstance(value, TrainState):
        raise DtypeError(
            f"{name}: state is a {type(value).__name__}, expected a TrainState (init_state makes "
            "one)"
        )


def init_state(
    model: Layer,
    optimizer: GradientTransformation,
    key: Key,
    input_shape: Shape,
    dtype: DTypeLike = np.float32,
) -> TrainState:
    """Draw parameters and start at step 0; ``input_shape`` is that of one example.

    Raises:
        DtypeError: ``optimizer`` is no GradientTransformation, or ``input_shape`` no tuple.
    """
    check_transformation("init_state", "optimizer", optimizer)
    if not isinstance(input_shape, tuple):
        raise DtypeError(
            f"init_state: input_shape is a {type(input_shape).__name__}, expected a tuple, "
            "as in (64,)"
        )
    init_key, train_key = random.split(key)
    params, state, _ = model.init(init_key, input_shape, dtype)
    return TrainState(params, state, optimizer.init(params), train_key, np.zeros((), np.int32))


def train_step(
    objective: Objective, optimizer: GradientTransformation, *, donate: bool = False
) -> Step:
    """Make the pure function ``(TrainState, batch) -> (TrainState, metrics)``.

    ``metrics["loss"]`` is the loss of the batch before the step. A model that needs a key draws
    from ``fold_in(state.key, state.step)``.

    Args:
        objective: What is made smaller.
        optimizer: How.
        donate: Whether a step may write to the parameters and to the optimizer's state that it is
            given: the next ones are in the same arrays, and the old TrainState must not be used
            again. It saves allocating arrays of that size, as ``jax.jit(donate_argnums=…)`` does.
            Where the parameters are few, new arrays take less time, and the old ones are left. The
            step keeps the arrays that it works in, and those of the last parameters, as long as
            there is the step.

    Raises:
        DtypeError: an argument is of another type; the step raises it for a state that is no
            TrainState.
    """
    if not isinstance(objective, Objective):
        raise DtypeError(
            f"train_step: objective is a {type(objective).__name__}, expected an Objective"
        )
    check_transformation("train_step", "optimizer", optimizer)
    check_bool("train_step", "donate", donate)
    is_searching = isinstance(optimizer, GradientTransformationExtraArgs)
    few = None if is_searching else objective.plans
    many = InPlace(few.model, few.loss) if donate and few is not None else None
    memory = Memory() if donate else None
    in_place: bool | None = None  # known once parameters have been seen

    def by_plan(state: TrainState, batch: Batch, count: Array) -> tuple[TrainState, Metrics] | None:
        def use(loss: Any, gradient: Gradient, params: Vector) -> tuple[TrainState, Metrics]:
            return finish(Together(gradient, state.params, params, memory), loss)

        def use_in_place(loss: Any, gradient: Gradient) -> tuple[TrainState, Metrics]:
            donated = {"opt_state": state.opt_state, "params": state.params}
            return finish(Lent(gradient.tree, state.params, donated), loss)

        def finish(run: Sweep, loss: Any) -> tuple[TrainState, Metrics]:
            opt_state = advance(optimizer, run, state.opt_state)
            return TrainState(run.apply(), {}, opt_state, state.key, count), {"loss": loss}

        its = state.params, state.state, batch
        done = None if few is None else few.find(*its, use, memory)
        return many.find(*its, use_in_place) if done is None and many is not None else done

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        nonlocal in_place, few
        check_train_state("step", state)
        count, apart = np.array(int(state.step) + 1, np.int32), False
        try:
            done = by_plan(state, batch, count)
        except NotTogetherError:
            done, apart = None, True
        if done is not None:
            return done
        if in_place is None:
            size = sum(np.asarray(leaf).nbytes for leaf in tree.leaves(state.params))
            in_place = donate and size > PACK
            if many is not None and in_place:
                # What this refuses is refused below. Of the values the plan takes care.
                with suppress(Exception):
                    admit(batch)
                    first = tuple(part[:1] for part in batch)
                    objective.loss(state.params, state.state, first)
                    many.remember(state.params, state.state, batch)
                done = by_plan(state, batch, count)
                if done is not None:
                    return done
        key = random.fold_in(state.key, int(state.step)) if objective.stochastic else None
        (loss, new), grads = objective.value_and_grad(state.params, state.state, batch, key)

        extra: dict[str, Any] = {}
        if is_searching:

            def elsewhere(params: Params) -> tuple[Any, Params]:
                (value, _), grads = objective.value_and_grad(params, state.state, batch, key)
                return value, grads

            extra = {"value": loss, "value_and_grad_fn": elsewhere}
        params, opt_state = apply_gradients(
            optimizer, grads, state.opt_state, state.params, donate=in_place, **extra
        )
        if many is not None and in_place:
            many.remember(params, state.state, batch)
        if apart:  # and no mistake of the caller's, which would have been refused by now
            few = None
        return TrainState(params, new, opt_state, state.key, count), {"loss": loss}

    return step


def fit(
    step: Step, state: TrainState, batches: Iterable[Batch]
) -> Iterator[tuple[TrainState, Metrics]]:
    """Take a step per batch and yield what each one returns; the caller owns the loop.

    Raises:
        DomainError: there are no batches; a generator gives its own only once.
    """
    nothing = True
    for batch in batches:
        nothing = False
        state, metrics = step(state, batch)
        yield state, metrics
    if nothing:
        raise DomainError("fit: no batches, expected at least one (a generator runs only once)")
