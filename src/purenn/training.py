"""Training: the objective, one step of the optimizer, and the loop as a generator.

    step = train_step(objective(model, loss), optimizer)
    state = init_state(model, optimizer, key(0), input_shape=(64,))
    for epoch in range(10):
        shuffled = batches(fold_in(key(1), epoch), (inputs, targets), 32)
        for state, metrics in fit(step, state, shuffled):
            ...

Everything that a run depends on is in its ``TrainState`` and its batches: the same two give the
same bits.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from purenn import random, tree
from purenn.contract import check_array, check_floating
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.layers import Layer, State, vjp_of
from purenn.optimizers import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    apply_gradients,
)
from purenn.regularizers import Regularizer
from purenn.typing import Array, Key, Params, Shape

Batch: TypeAlias = Sequence[Array]
"""``(inputs, targets)`` or ``(inputs, targets, weights)``; the first axis is the example."""

Metrics: TypeAlias = dict[str, Any]


class Objective(NamedTuple):
    """What training makes small, as pure functions of ``(params, state, batch, key=None)``.

    Attributes:
        loss: The mean loss, with the penalty of the regularizer, a scalar: the function that
            ``grad`` is the gradient of, and so with the model as it is while training
            (``model.forward`` is the model as it is used).
        grad: The gradient of ``loss`` with respect to ``params``.
        value_and_grad: ``((loss, new_state), grads)``, as ``jax.value_and_grad(has_aux=True)``.
        stochastic: Whether the model needs the key.
    """

    loss: Callable[..., Any]
    grad: Callable[..., Params]
    value_and_grad: Callable[..., tuple[tuple[Any, State], Params]]
    stochastic: bool = False


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


def objective(
    model: Layer, loss: Callable[..., Array], regularizer: Regularizer | None = None
) -> Objective:
    """Mean of a loss over a batch: Σᵢwᵢlᵢ/Σᵢwᵢ, with weights wᵢ = 1 unless the batch has others.

    A loss that has several elements per example, as an elementwise one, counts with their mean.
    Weights are finite, ≥ 0 and not all 0, of shape (batch,) and the dtype of the inputs.

    Args:
        model: The model; its first layer's input cotangent is not computed.
        loss: A rule of (outputs of the model, targets), from :mod:`purenn.ops.losses` say.
        regularizer: A penalty on the parameters that is added to the mean, from
            :mod:`purenn.regularizers`.

    Raises:
        DomainError: ``loss`` has no ``_vjp``.

    The functions returned refuse a batch that is empty, of unequal lengths or with other weights
    than these before any work, by a TreeError, ShapeError, DtypeError or DomainError. The model
    and the loss refuse what does not fit them.
    """
    if not isinstance(model, Layer) or isinstance(loss, Layer):
        raise DtypeError(
            f"objective: got a {type(model).__name__} and a {type(loss).__name__}, "
            "expected a Layer and a loss"
        )
    if not isinstance(regularizer, Regularizer | None):
        raise DtypeError(
            f"objective: regularizer is a {type(regularizer).__name__}, expected a Regularizer, "
            "as l2(1e-4)"
        )
    loss_vjp = vjp_of(loss)

    def value(params: Params, state: State, batch: Batch, key: Key | None = None) -> Any:
        inputs, targets, weights = _admit(batch)
        losses = loss(model.vjp(params, state, inputs, key)[0], targets)
        return _total(losses, _shares(losses, weights), regularizer, params)

    def value_and_grad(
        params: Params, state: State, batch: Batch, key: Key | None = None
    ) -> tuple[tuple[Any, State], Params]:
        inputs, targets, weights = _admit(batch)
        outputs, pullback, new_state = model.vjp(params, state, inputs, key)
        losses, loss_pullback = loss_vjp(outputs, targets)
        shares = _shares(losses, weights)
        dlosses = shares.astype(losses.dtype, copy=False)
        grads, _ = pullback(loss_pullback(dlosses)[0], input_cotangent=False)
        if regularizer is not None:
            penalties = regularizer.grad(params)
            grads = tree.map(lambda g, p: np.asarray(g + p), grads, penalties)
        return (_total(losses, shares, regularizer, params), new_state), grads

    def grad(params: Params, state: State, batch: Batch, key: Key | None = None) -> Params:
        return value_and_grad(params, state, batch, key)[1]

    return Objective(value, grad, value_and_grad, model.stochastic)


def init_state(
    model: Layer,
    optimizer: GradientTransformation,
    key: Key,
    input_shape: Shape,
    dtype: DTypeLike = np.float32,
) -> TrainState:
    """Draw parameters and start at step 0; ``input_shape`` is that of one example."""
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
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Make the pure function ``(TrainState, batch) -> (TrainState, metrics)``.

    ``metrics["loss"]`` is the loss of the batch before the step. A model that needs a key draws
    from ``fold_in(state.key, state.step)``.

    Args:
        objective: What is made smaller.
        optimizer: How.
        donate: Whether a step may write to the parameters and to the optimizer's state that it is
            given: the next ones are in the same arrays, and the old TrainState must not be used
            again. It saves allocating arrays of that size, as ``jax.jit(donate_argnums=…)`` does.

    Raises:
        DtypeError: an argument is of another type.
    """
    if not isinstance(objective, Objective) or not isinstance(optimizer, GradientTransformation):
        raise DtypeError(
            f"train_step: got a {type(objective).__name__} and a {type(optimizer).__name__}, "
            "expected an Objective and a GradientTransformation"
        )
    is_searching = isinstance(optimizer, GradientTransformationExtraArgs)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        key = random.fold_in(state.key, int(state.step)) if objective.stochastic else None
        (loss, new), grads = objective.value_and_grad(state.params, state.state, batch, key)

        def elsewhere(params: Params) -> tuple[Any, Params]:
            (value, _), grads = objective.value_and_grad(params, state.state, batch, key)
            return value, grads

        extra = {"value": loss, "value_and_grad_fn": elsewhere} if is_searching else {}
        params, opt_state = apply_gradients(
            optimizer, grads, state.opt_state, state.params, donate=donate, **extra
        )
        count = np.asarray(state.step + 1, np.int32)
        return TrainState(params, new, opt_state, state.key, count), {"loss": loss}

    return step


def fit(
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    state: TrainState,
    batches: Iterable[Batch],
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


def batches(key: Key, arrays: Sequence[Array], size: int) -> Iterator[tuple[Array, ...]]:
    """One epoch of shuffled batches: every example once, the last batch with what is left.

    Args:
        key: The order is a pure function of it.
        arrays: Arrays that have an example per index of the first axis.
        size: Examples per batch.

    Raises:
        ShapeError: the arrays are none, empty, or of unequal lengths.
        DtypeError: one of them is no array.
        DomainError: ``size`` is less than 1.
    """
    if not isinstance(arrays, list | tuple):
        raise DtypeError(
            f"batches: arrays is a {type(arrays).__name__}, expected a tuple such as "
            "(inputs, targets)"
        )
    if not isinstance(size, int):
        raise DtypeError(f"batches: size is a {type(size).__name__}, expected an int")
    if size < 1:
        raise DomainError(f"batches: size is {size}, expected at least 1")
    names = [f"arrays[{i}]" for i in range(len(arrays))]
    count = _examples("batches", dict(zip(names, arrays, strict=True)))
    order = random.permutation(key, count)
    starts = range(0, count, size)
    return (tuple(array[order[i : i + size]] for array in arrays) for i in starts)


def _admit(batch: Batch) -> tuple[Array, Array, Array | None]:
    """Take a batch apart, with ``None`` for weights that it has not."""
    if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
        got = f"{len(batch)} parts" if isinstance(batch, list | tuple) else type(batch).__name__
        raise TreeError(
            f"batch: got {got}, expected (inputs, targets) or (inputs, targets, weights)"
        )
    count = _examples("batch", dict(zip(("inputs", "targets", "weights"), batch, strict=False)))
    if len(batch) == 2:
        return batch[0], batch[1], None
    weights = batch[2]
    check_floating("batch", "weights", weights)
    if weights.dtype != batch[0].dtype:
        raise DtypeError(
            f"batch: weights have dtype {weights.dtype} and inputs {batch[0].dtype}; "
            "expected the same"
        )
    if weights.shape != (count,):
        raise ShapeError(f"batch: weights have shape {weights.shape}, expected ({count},)")
    total = np.sum(weights, dtype=np.float64)
    if not (weights >= 0).all() or not 0 < total < math.inf:
        raise DomainError("batch: weights are negative, all 0 or not finite")
    return batch[0], batch[1], weights


def _examples(name: str, arrays: dict[str, Array]) -> int:
    """How many examples all of ``arrays`` have; never 0, since nothing has no mean."""
    count = 0
    for argument, array in arrays.items():
        check_array(name, argument, array)
        if array.ndim == 0 or len(array) == 0:
            raise ShapeError(f"{name}: {argument} has shape {array.shape}, which has no examples")
        count = count or len(array)
        if len(array) != count:
            raise ShapeError(
                f"{name}: {argument} has {len(array)} examples and {next(iter(arrays))} {count}"
            )
    if not count:
        raise ShapeError(f"{name}: no arrays, expected at least one")
    return count


def _shares(losses: Array, weights: Array | None) -> Array:
    """Give each element its part in the mean: the cotangent of ``losses``, in float32 at least."""
    dtype = np.promote_types(losses.dtype, np.float32)
    if losses.size == 0:
        raise ShapeError(f"objective: the losses have shape {losses.shape}; nothing has no mean")
    if weights is None:
        return np.full(losses.shape, 1 / losses.size, dtype)
    if losses.shape[:1] != weights.shape:
        raise ShapeError(
            f"objective: the losses have shape {losses.shape}, expected ({len(weights)}, …), "
            "as many as weights"
        )
    wide = weights.astype(dtype)
    per_element = wide / (wide.sum() * (losses.size // len(losses)))
    trailing = (1,) * (losses.ndim - 1)
    return np.broadcast_to(per_element.reshape(-1, *trailing), losses.shape)


def _total(losses: Array, shares: Array, regularizer: Regularizer | None, params: Params) -> Any:
    """The mean and the penalty, rounded once."""
    penalty = 0 if regularizer is None else regularizer.loss(params)
    return (np.sum(shares * losses) + penalty).astype(losses.dtype)
