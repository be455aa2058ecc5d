"""What a model is worth: its outputs, its loss and any other score, batch by batch."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from purenn.contract import check_array
from purenn.errors import DomainError, ShapeError, TreeError
from purenn.layers import Layer
from purenn.training.objective import Batch
from purenn.training.step import TrainState
from purenn.typing import Array


def predict(model: Layer, state: TrainState, batches: Iterable[Batch]) -> Array:
    """The outputs of the model as it is used, without dropout and with running statistics.

    Args:
        model: The model.
        state: Its parameters and state are used.
        batches: Tuples whose first array are the inputs, from ``batches(None, (inputs,), 256)``
            say.

    Returns:
        Outputs (examples, …).

    Raises:
        DomainError: there are no batches.
        ShapeError, DtypeError, TreeError: the model refuses its inputs.
    """
    outputs = [model.forward(state.params, state.state, inputs) for inputs, *_ in batches]
    if not outputs:
        raise DomainError("predict: no batches, expected at least one")
    return np.concatenate(outputs)


def evaluate(
    model: Layer,
    loss: Callable[..., Array],
    state: TrainState,
    batches: Iterable[Batch],
    metrics: Mapping[str, Callable[[Array, Array], Any]] | None = None,
) -> dict[str, float]:
    """Mean loss, and any other metrics, of the model as it is used.

        evaluate(model, loss, state, batches(None, validation, 256), {"accuracy": accuracy})

    Args:
        model: The model.
        loss: A rule of (outputs of the model, targets), from :mod:`purenn.ops.losses` say.
        state: Its parameters and state are used.
        batches: ``(inputs, targets)``, or with weights, each with the examples of a batch.
        metrics: Functions of (targets, outputs) of all examples by name, such as :func:`accuracy`,
            or ``sklearn.metrics.r2_score``, whose arguments have this order.

    Returns:
        ``"loss"``, a mean over the examples, weighted where they have weights, in float64; and the
        metrics.

    Raises:
        DomainError: there are no batches, a weight is negative or not finite, the weights sum to
            0, or a metric is called ``"loss"``.
        TreeError: a batch is no tuple of inputs, targets and perhaps weights.
        ShapeError: there is no loss, or no weight, for each example.
        ShapeError, DtypeError, TreeError: the model or the loss refuse what does not fit.
    """
    if "loss" in (metrics or {}):
        raise DomainError("evaluate: metrics has 'loss', expected another name than the loss has")
    total = weight = 0.0
    every: list[tuple[Array, Array]] = []
    for batch in batches:
        if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
            raise TreeError(
                "evaluate: a batch is no tuple of 2 or 3 arrays, expected (inputs, targets) or "
                "(inputs, targets, weights)"
            )
        inputs, targets, *weights = batch
        outputs = model.forward(state.params, state.state, inputs)
        losses = loss(outputs, targets)
        if losses.shape[:1] != inputs.shape[:1]:
            raise ShapeError(
                f"evaluate: the loss has shape {losses.shape}, expected {len(inputs)} examples"
            )
        per_example = losses.reshape(len(losses), -1).mean(axis=1, dtype=np.float64)
        shares = _weights(weights[0], len(losses)) if weights else np.ones(len(losses))
        total += float(per_example @ shares)
        weight += float(shares.sum())
        if metrics:
            every.append((targets, outputs))
    if not weight:
        raise DomainError("evaluate: no batches, or none of weight, expected at least one")
    scores = {"loss": total / weight}
    if metrics:
        targets, outputs = (np.concatenate(parts) for parts in zip(*every, strict=True))
        scores |= {name: float(metric(targets, outputs)) for name, metric in metrics.items()}
    return scores


def _weights(weights: Array, count: int) -> Array:
    check_array("evaluate", "weights", weights)
    if weights.shape != (count,):
        raise ShapeError(f"evaluate: weights has shape {weights.shape}, expected {(count,)}")
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DomainError(
            f"evaluate: weights[{first}] is {weights[first]}, expected a finite number of at "
            "least 0"
        )
    return weights.astype(np.float64)


def labels(outputs: Array) -> Array:
    """The label that the outputs of each example say.

    Args:
        outputs: Logits, scores or probabilities (examples, classes), of which the largest counts;
            if there is only one per example it is a logit or a score, and a positive one says 1.

    Returns:
        Labels (examples,), int64.
    """
    if outputs.shape[-1] == 1:
        return np.asarray(outputs[..., 0] > 0, np.int64)
    return np.asarray(outputs.argmax(axis=-1), np.int64)


def accuracy(targets: Array, outputs: Array) -> float:
    """The share of examples whose outputs say their label; see :func:`labels`.

    Args:
        targets: Labels (examples,), integers; or (examples, classes), where the largest counts.
            Where there is one output per example, of shape (examples,) or (examples, 1), and
            1 beside 0 or beside −1.
        outputs: As for :func:`labels`.

    Returns:
        A number from 0 to 1; outputs that are NaN say no label.

    Raises:
        DtypeError: one of them is no array.
        ShapeError: they do not fit each other, or there are none.
    """
    for argument, array in (("targets", targets), ("outputs", outputs)):
        check_array("accuracy", argument, array)
    if outputs.ndim < 2 or outputs.size == 0:
        raise ShapeError(
            f"accuracy: outputs has shape {outputs.shape}, expected (examples, classes)"
        )
    if targets.shape not in (outputs.shape, outputs.shape[:-1]):
        raise ShapeError(
            f"accuracy: targets has shape {targets.shape}, expected {outputs.shape[:-1]} or "
            f"{outputs.shape}, as outputs has"
        )
    if targets.ndim == outputs.ndim:
        targets = labels(targets)
    elif outputs.shape[-1] == 1:
        targets = targets > 0
    said = ~np.isnan(outputs).any(axis=-1)
    return float(np.mean((labels(outputs) == targets) & said))
