"""A trained network, from its checkpoint alone."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from purenn import checkpoints, layers, random, training
from purenn._files import check_regular
from purenn.checkpoints import CheckpointError
from purenn.checkpoints._names import nested
from purenn.layers import Layer
from purenn.ops import activations
from purenn.runs.config import Config, make
from purenn.runs.expressions import ConfigError
from purenn.runs.inputs import Scaler, check_finite, prepare, read, scaled
from purenn.runs.setup import REFUSED, forms_of, is_of_classes, loss_name
from purenn.runs.train import EVALUATED, check_run, r2
from purenn.training import TrainState
from purenn.typing import Array, Shape

_PROBABILITIES: dict[
    str, Callable[[Array], Array]
] = {  # what makes them of the outputs that a loss is of
    "softmax_cross_entropy_with_integer_labels": activations.softmax,
    "softmax_cross_entropy": activations.softmax,
    "safe_softmax_cross_entropy": activations.softmax,
    "sigmoid_binary_cross_entropy": activations.sigmoid,
    "categorical_cross_entropy": np.asarray,
    "binary_cross_entropy": np.asarray,
}


class Trained(NamedTuple):
    """What a checkpoint of a run says.

    Attributes:
        config: How it was trained.
        model: The network.
        state: Its parameters, and what it remembers besides; nothing of the optimizer.
        scaler: What its inputs are scaled by.
        classes: The names of the labels; () where it predicts values.
        shape: Of one example.
    """

    config: Config
    model: Layer
    state: TrainState
    scaler: Scaler
    classes: tuple[str, ...]
    shape: Shape

    def outputs(self, inputs: Array) -> Array:
        """Logits or values, of inputs as the data have them.

        Raises:
            ConfigError: they have another shape than those that it was trained with, or are not
                finite.
        """
        if inputs.shape[1:] != self.shape:
            if inputs.ndim > 1 and inputs.shape[1:] == (int(np.prod(self.shape)),):
                inputs = inputs.reshape(-1, *self.shape)
            else:
                raise ConfigError(
                    f"data: inputs have shape {inputs.shape[1:]}, and those of the training had "
                    f"{self.shape}"
                )

        def batches() -> Iterator[tuple[Array]]:
            for i, (part,) in enumerate(training.batches(None, (inputs,), EVALUATED)):
                ready = scaled(self.scaler, part, self.config.dtype)
                check_finite(ready, start=i * EVALUATED)
                yield (ready,)

        return training.predict(self.model, self.state, batches())

    def table(self, outputs: Array) -> tuple[list[str], list[list[Any]]]:
        """Names of columns, and a row for each example: what is predicted, and how surely.

        Probabilities are those of a cross-entropy; other losses have scores.
        """
        if not self.classes:
            flat = outputs.reshape(len(outputs), -1)
            head = [f"predicted_{k}" for k in range(flat.shape[1])]
            return head, [[f"{value:.9g}" for value in row] for row in flat]
        loss = loss_name(self.config.loss, True, outputs.shape[1:])
        shares = _PROBABILITIES.get(loss, np.asarray)(outputs)
        if loss not in _PROBABILITIES:
            names = self.classes if shares.shape[1] > 1 else self.classes[1:]
            head = [f"score({name})" for name in names]
        else:
            head = [f"p({name})" for name in self.classes]
            if shares.shape[1] == 1:
                shares = np.concatenate([1 - shares, shares], axis=1)
        rows = zip(training.labels(outputs), shares, strict=True)
        return ["predicted", *head], [
            [self.classes[label], *(f"{share:.6g}" for share in row)] for label, row in rows
        ]

    def scores(self, outputs: Array, targets: Array) -> dict[str, float]:
        """The accuracy, or R² and the mean squared error.

        Raises:
            ConfigError: values have another shape than the outputs.
        """
        if self.classes:
            return {"accuracy": training.accuracy(targets, outputs)}
        if targets.shape != outputs.shape:
            raise ConfigError(
                f"data: targets have shape {targets.shape[1:]}, and the outputs of the network "
                f"{outputs.shape[1:]}"
            )
        error = float(np.mean((targets - outputs) ** 2, dtype=np.float64))
        return {"r2": r2(targets, outputs), "mean squared error": error}


def load(path: Path) -> Trained:
    """Read what :mod:`purenn.runs.train` saved.

    Raises:
        CheckpointError: it is no whole checkpoint, or not that of a run.
        ConfigError: a key of its configuration cannot be used.
        OSError: it cannot be read.
    """
    found = checkpoints.read(path)
    check_run(found)
    config, classes = make(found.metadata["config"]), tuple(map(str, found.metadata["classes"]))
    # The arrays are those that are there: what the header asks for may not fit into memory.
    params, state, scales = (
        nested(path, found.arrays, name) for name in ("train/params", "train/state", "scaler")
    )
    scaler = Scaler(*(np.asarray(scales.get(name)) for name in Scaler._fields))
    shape = scaler.shift.shape
    if any(each.dtype != np.float64 or each.shape != shape for each in scaler):
        raise CheckpointError(f"{path}: lacks scaler/shift, or scaler/factor of the same shape")
    if not all(np.isfinite(each).all() for each in scaler):
        raise CheckpointError(f"{path}: its scaler is not finite")
    started = TrainState(params, state, (), random.key(0), np.zeros((), np.int32))
    faults: list[str] = []
    for parts in forms_of(config.model, shape):
        trained = Trained(config, layers.serial(**parts), started, scaler, classes, shape)
        try:
            with np.errstate(all="ignore"):
                width = trained.outputs(np.zeros((1, *shape))).shape[1:]
        except REFUSED as error:
            faults.append(f"{path}: its arrays do not fit its model: {error}")
            continue
        if is_of_classes(width, len(classes)) if classes else len(width) == 1:
            return trained
        faults.append(
            f"{path}: its network gives outputs of shape {width} for {len(classes)} classes"
        )
    raise CheckpointError(faults[0])


def run_inputs(trained: Trained, text: str | None) -> tuple[Array, Array | None]:
    """Inputs as the data have them, and targets if there are any.

    Args:
        trained: The network.
        text: As ``data`` in a configuration, or an .npy file; None for the test part of the run.

    Raises:
        ConfigError: there is no such set, or it has other classes.
        OSError: a file cannot be read.
    """
    key = random.split(random.key(trained.config.key), 4)[0]
    if text is None:
        made = prepare(replace(trained.config, scale="none"), key)
        part = made.test or made.validation or made.train
        return part.inputs, part.targets
    if text.endswith(".npy"):
        return _mapped(text), None
    whole, test = read(text, key)
    known, count = len(trained.classes), len(whole.classes)
    if count > known or bool(count) != bool(known):
        raise ConfigError(f"data: {text} has {count} classes, the network {known}")
    return (test or whole)[:2]


def _mapped(text: str) -> Array:
    """The array of an .npy file, which is read as it is used."""
    file = Path(text).expanduser()
    check_regular(file)
    try:
        array: Array = np.lib.format.open_memmap(file, mode="r")
    except (
        ValueError,
        TypeError,
        SyntaxError,
        OverflowError,
        MemoryError,
        RecursionError,
    ) as error:
        told = " ".join(str(error).split())
        raise ConfigError(f"data: {text} is no .npy file of numbers: {told}") from None
    if array.dtype.kind not in "fiub":
        raise ConfigError(f"data: {text} has dtype {array.dtype}, expected one of numbers")
    if array.ndim == 0 or len(array) == 0:
        raise ConfigError(f"data: {text} has shape {array.shape}, which has no examples")
    return array
