"""The run itself: epochs, scores, checkpoints, and how it goes on after a stop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from purenn import __version__, checkpoints, training
from purenn.checkpoints import CheckpointError
from purenn.runs.config import Config, make
from purenn.runs.expressions import ConfigError
from purenn.runs.inputs import Part, Scaler
from purenn.runs.setup import Setup, training_batches
from purenn.training import Best, TrainState, early_stopping
from purenn.tree import Tree

FOLDER = "checkpoints"

History: TypeAlias = list[dict[str, float]]
"""A row per epoch."""

_EVALUATED = 1024  # examples at a time


class Place(NamedTuple):
    """Where a run is.

    Attributes:
        state: After the last step.
        history: The epochs that are complete.
        losses: The sum of the losses of this epoch so far, and how many examples they are of.
        rates: The state of what changes the learning rate with the validation loss.
    """

    state: TrainState
    history: History
    losses: tuple[float, int]
    rates: Any


class Progress(NamedTuple):
    """News of a run, after each step.

    Attributes:
        place: Where it is.
        epoch: The epoch, from 1.
        step: The step within the epoch, from 1.
        loss: The mean of this epoch so far.
        seen: Examples since the run was started or resumed.
        seconds: Time since then.
        is_epoch: Whether an epoch is complete: the last row of the history is its.
    """

    place: Place
    epoch: int
    step: int
    loss: float
    seen: int
    seconds: float
    is_epoch: bool


def begin(made: Setup) -> Place:
    """The start of a run."""
    rates = made.schedule.init() if made.schedule is not None else {}
    return Place(made.state, [], (0.0, 0), rates)


def run(
    made: Setup,
    place: Place,
    interrupted: Callable[[], bool] = lambda: False,
    *,
    folder: Path | None = None,
) -> Iterator[Progress]:
    """Train to the end, from wherever it is.

    Args:
        made: The run.
        place: Where to go on.
        interrupted: Whether to stop after this step; the place is saved then.
        folder: Where checkpoints go, if anywhere.

    Raises:
        DomainError: the loss is no longer finite; the message says where that began.
        OSError: a checkpoint cannot be written.
    """
    config, count = made.config, len(made.inputs.train.inputs)
    step = training.stop_at_nonfinite(made.step)
    started, seen = time.perf_counter(), 0
    if folder is not None and not checkpoints.steps(folder):
        save(made, place, folder)
    while len(place.history) < config.epochs and not _best(made, place.history).stop:
        epoch = len(place.history)
        batches = training_batches(made, int(place.state.step), epoch + 1)
        for state, metrics in training.fit(step, place.state, batches):
            number = int(state.step)
            within = number - epoch * made.per_epoch
            size = min(config.batch_size, count - (within - 1) * config.batch_size)
            total, examples = place.losses
            losses = total + float(metrics["loss"]) * size, examples + size
            place = place._replace(state=state, losses=losses)
            is_epoch = within == made.per_epoch
            if is_epoch:
                place = _complete(made, place)
            seen += size
            is_due = config.checkpoint_every and number % config.checkpoint_every == 0
            stop = interrupted()
            if folder is not None and (is_epoch or is_due or stop):
                save(made, place, folder)
            mean = losses[0] / losses[1]
            yield Progress(
                place, epoch + 1, within, mean, seen, time.perf_counter() - started, is_epoch
            )
            if stop:
                return


def _complete(made: Setup, place: Place) -> Place:
    """Score an epoch that is over, and let the learning rate follow."""
    state, (total, examples) = place.state, place.losses
    row = {"epoch": len(place.history) + 1, "step": int(state.step), "train_loss": total / examples}
    if made.inputs.validation is not None:
        found = scores(made, state, made.inputs.validation)
        row |= {f"validation_{name}": value for name, value in found.items()}
    if made.rate is not None:
        updates = (int(state.step) - 1) // made.config.accumulate
        row["learning_rate"] = float(made.rate(updates))
    rates = place.rates
    if made.schedule is not None:
        row["learning_rate"] = float(state.opt_state.hyperparams["rate"])
        rates, rate = made.schedule.update(rates, row["validation_loss"])
        state = training.with_hyperparams(state, rate=rate)
    return Place(state, [*place.history, row], (0.0, 0), rates)


def scores(made: Setup, state: TrainState, part: Part) -> dict[str, float]:
    """The loss, and for labels the accuracy, for values R²."""
    batches = training.batches(None, made.arrays(part), _EVALUATED)
    return training.evaluate(made.model, made.loss, state, batches, _metrics(made))


def outputs(made: Setup, state: TrainState, inputs: Any) -> Any:
    """What the model says of inputs that are scaled."""
    return training.predict(made.model, state, training.batches(None, (inputs,), _EVALUATED))


def _metrics(made: Setup) -> dict[str, Callable[..., Any]]:
    if made.inputs.classes:
        return {"accuracy": training.accuracy}

    def r2(targets: Any, values: Any) -> float:
        from sklearn.metrics import r2_score

        return float(r2_score(targets, values)) if len(targets) > 1 else math.nan

    return {"r2": r2}


def best_epoch(made: Setup, history: History) -> int:
    """The epoch whose state is the one to use, from 1; the last one, if nothing else decides."""
    return _best(made, history).at + 1 if made.inputs.validation is not None else len(history)


def _best(made: Setup, history: History) -> Best:
    patience = made.config.patience
    stopping = early_stopping(patience or made.config.epochs + 1)
    best = stopping.init()
    if made.inputs.validation is not None:
        for row in history:
            best = stopping.update(best, row["validation_loss"])
    return best


def save(made: Setup, place: Place, folder: Path) -> None:
    """Write a checkpoint with all that the run goes on from."""
    history = place.history
    is_fresh = bool(history) and place.losses == (0.0, 0)
    checkpoints.save_step(
        folder,
        int(place.state.step),
        _saved(place, made.inputs.scaler),
        {
            "purenn": __version__,
            "config": asdict(made.config),
            "classes": list(made.inputs.classes),
            "input_shape": list(made.inputs.shape),
            "history": history,
            "losses": list(place.losses),
        },
        keep=made.config.keep,
        best=is_fresh and best_epoch(made, history) == len(history),
    )


def resume(made: Setup, folder: Path, tell: Callable[[str], Any]) -> Place:
    """Go on from the newest checkpoint that is whole; from the start, if there is none.

    Raises:
        ConfigError: the run was started with another configuration.
    """
    for file in checkpoints.steps(folder):
        try:
            metadata = checkpoints.read(file).metadata
            check_same(made.config, metadata["config"])
            saved, _ = checkpoints.load(file, _saved(begin(made), made.inputs.scaler))
        except CheckpointError as error:
            tell(f"{error}; trying the one before")
            continue
        total, examples = metadata["losses"]
        return Place(
            saved["train"], metadata["history"], (float(total), int(examples)), saved["rates"]
        )
    return begin(made)


def check_same(config: Config, before: dict[str, Any]) -> None:
    """Refuse to go on with another configuration, but for what does not change the run."""
    for key, value in asdict(config).items():
        if key not in ("epochs", "output", "checkpoint_every", "keep") and before[key] != value:
            raise ConfigError(
                f"{key}: is {value!r}, and the run that is resumed was started with {before[key]!r}"
            )


def restore(folder: Path, made: Setup, place: Place) -> TrainState:
    """The state to use: the best on the validation part, or the last."""
    if made.inputs.validation is None:
        return place.state
    like = _saved(place, made.inputs.scaler)
    saved, _ = checkpoints.load(folder / checkpoints.BEST, like)
    found: TrainState = saved["train"]
    return found


def config_of(metadata: dict[str, Any]) -> Config:
    """The configuration in a checkpoint."""
    return make(metadata["config"])


def _saved(place: Place, scaler: Scaler) -> Tree:
    return {"train": place.state, "rates": place.rates, "scaler": scaler}
