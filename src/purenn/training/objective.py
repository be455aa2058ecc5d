"""The objective: loss and gradient of a model over a batch."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn import tree
from purenn.contract import check_floating
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.layers import Layer, State, vjp_of
from purenn.optimizers._layout import spread
from purenn.optimizers._together import Gradient, Vector
from purenn.regularizers import Regularizer
from purenn.training._planned import Plans
from purenn.training.batching import count_examples
from purenn.typing import Array, Key, Params

Batch: TypeAlias = Sequence[Array]
"""``(inputs, targets)`` or ``(inputs, targets, weights)``; the first axis is the example."""


class Objective(NamedTuple):
    """What training makes small, as pure functions of ``(params, state, batch, key=None)``.

    Attributes:
        loss: The mean loss, with the penalty of the regularizer, a scalar: the function that
            ``grad`` is the gradient of, and so with the model as it is while training
            (``model.forward`` is the model as it is used).
        grad: The gradient of ``loss`` with respect to ``params``.
        value_and_grad: ``((loss, new_state), grads)``, as ``jax.value_and_grad(has_aux=True)``.
        stochastic: Whether the model needs the key.
        plans: How loss and gradient are found for a small model, if there is another way.
    """

    loss: Callable[..., Any]
    grad: Callable[..., Params]
    value_and_grad: Callable[..., tuple[tuple[Any, State], Params]]
    stochastic: bool = False
    plans: Plans | None = None


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
    plans = Plans(model, loss) if regularizer is None and model.plan is not None else None

    def value(params: Params, state: State, batch: Batch, key: Key | None = None) -> Any:
        inputs, targets, weights = admit(batch)
        losses = loss(model.vjp(params, state, inputs, key)[0], targets)
        return _total(losses, _shares(losses, weights), regularizer, params)

    def value_and_grad(
        params: Params, state: State, batch: Batch, key: Key | None = None
    ) -> tuple[tuple[Any, State], Params]:
        if plans is not None:
            found = plans.find(params, state, batch, _copied)
            if found is not None:
                return found
        inputs, targets, weights = admit(batch)
        outputs, pullback, new_state = model.vjp(params, state, inputs, key)
        losses, loss_pullback = loss_vjp(outputs, targets)
        shares = _shares(losses, weights)
        dlosses = shares.astype(losses.dtype, copy=False)
        grads, _ = pullback(loss_pullback(dlosses)[0], input_cotangent=False)
        if regularizer is not None:
            penalties = regularizer.grad(params)
            grads = tree.map(lambda g, p: np.asarray(g + p), grads, penalties)
        if plans is not None:
            plans.make(params, state, batch)
        return (_total(losses, shares, regularizer, params), new_state), grads

    def grad(params: Params, state: State, batch: Batch, key: Key | None = None) -> Params:
        return value_and_grad(params, state, batch, key)[1]

    return Objective(value, grad, value_and_grad, model.stochastic, plans)


def _copied(loss: Any, gradient: Gradient, params: Vector) -> tuple[tuple[Any, State], Params]:
    return (loss, {}), spread(gradient.vector.copy(), gradient.layout)


def admit(batch: Batch) -> tuple[Array, Array, Array | None]:
    """Take a batch apart, with ``None`` for weights that it has not."""
    if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
        got = f"{len(batch)} parts" if isinstance(batch, list | tuple) else type(batch).__name__
        raise TreeError(
            f"batch: got {got}, expected (inputs, targets) or (inputs, targets, weights)"
        )
    count = count_examples(
        "batch", dict(zip(("inputs", "targets", "weights"), batch, strict=False))
    )
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
