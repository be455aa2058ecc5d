"""The run itself: epochs, scores, checkpoints, and how it goes on after a stop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from purenn import __version__, checkpoints, training
from purenn.checkpoints import Checkpoint, CheckpointError
from purenn.errors import DomainError
from purenn.runs.expressions import ConfigError, mentions
from purenn.runs.inputs import Part, Scaler
from purenn.runs.setup import Setup, training_batches
from purenn.training import Best, EarlyStopping, TrainState, early_stopping
from purenn.tree import Tree
from purenn.typing import Array

FOLDER = "checkpoints"

History: TypeAlias = list[dict[str, float]]
"""A row per epoch."""

EVALUATED = 1024  # examples at a time


class Place(NamedTuple):
    """Where a run is.

    Attributes:
        state: After the last step.
        history: The epochs that are complete.
        losses: The sum of the losses of this epoch so far, and how many examples they are of.
        rates: The state of what changes the learning rate with the validation loss.
        best: The epoch with the best validation loss, from 0.
    """

    state: TrainState
    history: History
    losses: tuple[float, int]
    rates: Any
    best: Best


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
    return Place(made.state, [], (0.0, 0), rates, _stopping(made).init())


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
    while len(place.history) < config.epochs and not place.best.stop:
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
    best = place.best
    row = {"epoch": len(place.history) + 1, "step": int(state.step), "train_loss": total / examples}
    if made.inputs.validation is not None:
        found = scores(made, state, made.inputs.validation)
        row |= {f"validation_{name}": value for name, value in found.items()}
        best = _stopping(made).update(best, row["validation_loss"])
    if made.rate is not None:
        updates = (int(state.step) - 1) // made.config.accumulate
        row["learning_rate"] = float(made.rate(updates))
    rates = place.rates
    if made.schedule is not None:
        row["learning_rate"] = float(state.opt_state.hyperparams["rate"])
        rates, rate = made.schedule.update(rates, row["validation_loss"])
        state = training.with_hyperparams(state, rate=rate)
    return Place(state, [*place.history, row], (0.0, 0), rates, best)


def scores(made: Setup, state: TrainState, part: Part) -> dict[str, float]:
    """The loss, and for labels the accuracy, for values R²."""
    batches = training.batches(None, made.arrays(part), EVALUATED)
    metrics = {"accuracy": training.accuracy} if made.inputs.classes else {"r2": r2}
    return training.evaluate(made.model, made.loss, state, batches, metrics)


def r2(targets: Array, values: Array) -> float:
    """The share of the variance that is explained; of one example, NaN."""
    from sklearn.metrics import r2_score

    return float(r2_score(targets, values)) if len(targets) > 1 else math.nan


def best_epoch(place: Place) -> int:
    """The epoch whose state is the one to use, from 1; the last one, if nothing else decides."""
    return place.best.at + 1 if place.best.seen else len(place.history)


def _stopping(made: Setup) -> EarlyStopping:
    return early_stopping(made.config.patience or made.config.epochs + 1)


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
            "examples": made.inputs.told,
            "history": history,
            "losses": list(place.losses),
        },
        keep=made.config.keep,
        best=is_fresh and best_epoch(place) == len(history),
    )


def resume(made: Setup, folder: Path, tell: Callable[[str], Any]) -> Place:
    """Go on from the newest checkpoint that is whole; from the start, if there is none.

    Raises:
        ConfigError: the run was started with another configuration, or with other data.
        CheckpointError: the checkpoint is not one of a run.
    """
    start = begin(made)
    files = checkpoints.steps(folder)
    for file in files:
        try:
            found = checkpoints.read(file)
        except CheckpointError as error:
            tell(f"{error}; trying the one before" if file != files[-1] else str(error))
            continue
        check_run(found)
        check_same(made, found.metadata)
        saved = checkpoints.fitted(found, _saved(start, made.inputs.scaler))
        history, (total, examples) = found.metadata["history"], found.metadata["losses"]
        best = start.best
        if made.inputs.validation is not None:
            for row in history:
                if "validation_loss" not in row:
                    raise CheckpointError(f"{file}: its history lacks validation_loss")
                best = _stopping(made).update(best, row["validation_loss"])
        losses = float(total), int(examples)
        return Place(saved["train"], history, losses, saved["rates"], best)
    if files:
        tell(f"{folder}: no checkpoint is whole, the run begins anew")
    return start


def check_run(found: Checkpoint) -> None:
    """Refuse a checkpoint that no run has written.

    Raises:
        CheckpointError: it lacks what a run saves.
    """
    kinds = {"classes": list, "config": dict, "examples": dict, "history": list, "losses": list}
    for name, kind in kinds.items():
        if not isinstance(found.metadata.get(name), kind):
            raise CheckpointError(
                f"{found.path}: is no checkpoint of purenn train: it lacks {name}"
            )
    history, losses = found.metadata["history"], found.metadata["losses"]
    if not all(isinstance(row, dict) and _are_numbers([*row.values()]) for row in history):
        raise CheckpointError(f"{found.path}: its history is no list of rows of numbers")
    if len(losses) != 2 or not _are_numbers(losses):
        raise CheckpointError(f"{found.path}: losses is {losses!r:.80}, expected two numbers")


def _are_numbers(values: list[Any]) -> bool:
    return all(type(value) in (int, float) for value in values)


def check_same(made: Setup, before: dict[str, Any]) -> None:
    """Refuse to go on with what would give another run than the one that was begun.

    Raises:
        ConfigError: a key has another value, or the data are others.
    """
    config = made.config
    free = {"output", "checkpoint_every", "keep"}
    texts = {"schedule": config.schedule, "optimizer": config.optimizer}
    users = [key for key, text in texts.items() if mentions(key, text, "steps")]
    free |= set() if users else {"epochs"}
    for key, value in asdict(config).items():
        old = before["config"].get(key)
        if key not in free and old != value:
            why = f", and {users[0]} depends on it" if key == "epochs" else ""
            raise ConfigError(
                f"{key}: is {value!r}, and the run that is resumed was started with {old!r}{why}"
            )
    for name, number in made.inputs.told.items():
        old = before["examples"].get(name)
        if old != number and name == "checksum":
            raise ConfigError("data: is not what the run that is resumed was trained with")
        if old != number:
            raise ConfigError(
                f"data: has {number} examples in the {name} part, and had {old} when the run that "
                "is resumed was started"
            )


def restore(folder: Path, made: Setup, place: Place) -> TrainState:
    """The state to use: the best on the validation part, or the last.

    Raises:
        DomainError: there is no best, since the validation loss was never a number.
    """
    if made.inputs.validation is None:
        return place.state
    if place.best.at < 0:
        raise DomainError(
            "validation: the loss was NaN after every epoch, so that none is the best"
        )
    like = _saved(place, made.inputs.scaler)
    saved, _ = checkpoints.load(folder / checkpoints.BEST, like)
    found: TrainState = saved["train"]
    return found


def _saved(place: Place, scaler: Scaler) -> Tree:
    return {"train": place.state, "rates": place.rates, "scaler": scaler}
