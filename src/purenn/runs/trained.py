"""A trained network, from its checkpoint alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from purenn import checkpoints, layers, random, training
from purenn.checkpoints import CheckpointError
from purenn.layers import Layer
from purenn.runs.config import Config, make
from purenn.runs.expressions import ConfigError
from purenn.runs.inputs import Scaler, prepare, read, scaled
from purenn.runs.setup import layers_of
from purenn.typing import Array, Params, Shape

_TOGETHER = 1024


class Trained(NamedTuple):
    """What a checkpoint of a run says.

    Attributes:
        config: How it was trained.
        model: The network.
        params: Its parameters.
        state: What it remembers besides.
        scaler: What its inputs are scaled by.
        classes: The names of the labels; () where it predicts values.
        shape: Of one example.
    """

    config: Config
    model: Layer
    params: Params
    state: Any
    scaler: Scaler
    classes: tuple[str, ...]
    shape: Shape

    def outputs(self, inputs: Array) -> Array:
        """Logits or values, of inputs as the data have them.

        Raises:
            ConfigError: they have another shape than those that it was trained with.
        """
        if inputs.shape[1:] != self.shape:
            if inputs.ndim > 1 and inputs.shape[1:] == (int(np.prod(self.shape)),):
                inputs = inputs.reshape(-1, *self.shape)
            else:
                raise ConfigError(
                    f"data: inputs have shape {inputs.shape[1:]}, and those of the training had "
                    f"{self.shape}"
                )
        found = [
            self.model.forward(
                self.params, self.state, scaled(self.scaler, part, self.config.dtype)
            )
            for (part,) in training.batches(None, (inputs,), _TOGETHER)
        ]
        return np.concatenate(found)

    def scores(self, outputs: Array, targets: Array) -> dict[str, float]:
        """The accuracy, or R² and the mean squared error."""
        if self.classes:
            return {"accuracy": training.accuracy(targets, outputs)}
        from sklearn.metrics import mean_squared_error, r2_score

        return {
            "r2": float(r2_score(targets, outputs)),
            "mean squared error": float(mean_squared_error(targets, outputs)),
        }


def load(path: Path) -> Trained:
    """Read what :mod:`purenn.runs.train` saved.

    Raises:
        CheckpointError: it is no whole checkpoint, or not that of a run.
        OSError: it cannot be read.
    """
    metadata = checkpoints.read(path).metadata
    missing = {"config", "classes", "input_shape"} - metadata.keys()
    if missing:
        raise CheckpointError(f"{path}: is no checkpoint of purenn train: it lacks {min(missing)}")
    config = make(metadata["config"])
    shape = tuple(metadata["input_shape"])
    model = layers.serial(**layers_of(config.model, shape))
    params, state, _ = model.init(random.key(0), shape, config.dtype)
    plain = np.zeros(shape)
    like = {
        "train": {"params": params, "state": state},
        "scaler": Scaler(plain, plain),
    }
    whole, _ = checkpoints.load(path, like, strict=False)
    return Trained(
        config, model, whole["train"]["params"], whole["train"]["state"], whole["scaler"],
        tuple(metadata["classes"]), shape,
    )  # fmt: skip


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
        try:
            return np.load(Path(text).expanduser(), allow_pickle=False, mmap_mode="r"), None
        except ValueError as error:
            raise ConfigError(f"data: {text} is no .npy file: {error}") from None
    whole, test = read(text, key)
    if len(whole.classes) != len(trained.classes):
        raise ConfigError(
            f"data: {text} has {len(whole.classes)} classes, the network {len(trained.classes)}"
        )
    return (test or whole)[:2]
