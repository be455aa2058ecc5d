"""A network on real handwritten digits, from the data to the picture."""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from purenn import layers, optimizers, random, training
from purenn.initializers import he_normal
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels
from purenn.runs.pictures import draw_confusion
from purenn.training import TrainState
from purenn.typing import Array

EPOCHS, BATCH, RATE = 60, 64, 1e-3

MODEL = layers.serial(
    hidden=layers.dense(128, he_normal()),
    act=layers.relu,
    out=layers.dense(10),
)


class Part(NamedTuple):
    """Some of the digits."""

    pixels: Array
    """(examples, 64), 0 to 16."""
    inputs: Array
    """The same scaled by what the training part has for mean and deviation, float32."""
    labels: Array


class Digits(NamedTuple):
    """The 1,797 digits in three parts, each with the same share of every digit."""

    train: Part
    validation: Part
    test: Part


class Result(NamedTuple):
    """The state with the lowest validation loss and how training went, a number per epoch."""

    state: TrainState
    train_loss: list[float]
    validation_loss: list[float]
    seconds: float


def digits() -> Digits:
    """Load, split 70/15/15 and scale: the scaler has seen the training part alone."""
    pixels, labels = load_digits(return_X_y=True)
    train, rest, train_labels, rest_labels = train_test_split(
        pixels, labels, test_size=0.3, stratify=labels, random_state=0
    )
    validation, test, validation_labels, test_labels = train_test_split(
        rest, rest_labels, test_size=0.5, stratify=rest_labels, random_state=0
    )
    scaler = StandardScaler().fit(train)

    def part(pixels: Array, labels: Array) -> Part:
        return Part(pixels, scaler.transform(pixels).astype(np.float32), labels)

    return Digits(
        part(train, train_labels), part(validation, validation_labels), part(test, test_labels)
    )


def train(data: Digits, key: int, console: Console) -> Result:
    """Train 64-128-10 with Adam and keep the state that does best on the validation part."""
    objective = training.objective(MODEL, softmax_cross_entropy_with_integer_labels)
    optimizer = optimizers.adam(RATE)
    step = training.train_step(objective, optimizer)
    init_key, data_key = random.split(random.key(key))
    state = best = training.init_state(MODEL, optimizer, init_key, (64,))
    train_loss: list[float] = []
    validation_loss: list[float] = []
    start = time.perf_counter()
    columns = [
        TextColumn("training"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}{task.fields[told]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=EPOCHS, told="")
        for epoch in range(EPOCHS):
            shuffled = training.batches(
                random.fold_in(data_key, epoch), (data.train.inputs, data.train.labels), BATCH
            )
            steps = list(training.fit(step, state, shuffled))
            state = steps[-1][0]
            train_loss.append(float(np.mean([metrics["loss"] for _, metrics in steps])))
            validation_loss.append(_loss(state, data.validation))
            if validation_loss[-1] == min(validation_loss):
                best = state
            told = f"  loss {train_loss[-1]:.4f}  validation {validation_loss[-1]:.4f}"
            progress.update(task, advance=1, told=told)
    return Result(best, train_loss, validation_loss, time.perf_counter() - start)


def predict(state: TrainState, part: Part) -> Array:
    """The likeliest digit for each image."""
    return training.labels(training.predict(MODEL, state, [(part.inputs,)]))


def _loss(state: TrainState, part: Part) -> float:
    loss, batches = softmax_cross_entropy_with_integer_labels, [(part.inputs, part.labels)]
    return training.evaluate(MODEL, loss, state, batches)["loss"]


def picture(result: Result, test: Part, predicted: Array) -> Any:
    """Loss curves, confusion matrix, and the digits that came out wrong."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    parts: Any = figure.subfigures(1, 3)
    curves, matrix, wrong = parts
    _draw_curves(curves.subplots(), result)
    axes = matrix.subplots()
    draw_confusion(axes, test.labels, predicted, tuple("0123456789"))
    axes.set_title(f"Test digits: {np.mean(test.labels == predicted):.1%} right")
    _draw_wrong(wrong, test, predicted)
    return figure


def _draw_curves(axes: Any, result: Result) -> None:
    epochs = np.arange(1, len(result.train_loss) + 1)
    axes.semilogy(epochs, result.train_loss, label="training")
    axes.semilogy(epochs, result.validation_loss, label="validation")
    best = int(np.argmin(result.validation_loss))
    axes.plot(epochs[best], result.validation_loss[best], "o", color="C1", label="kept")
    axes.set(title="Cross-entropy", xlabel="epoch", ylabel="mean loss (nats)")
    axes.legend()


def _draw_wrong(figure: Any, test: Part, predicted: Array) -> None:
    places = np.flatnonzero(test.labels != predicted)
    figure.suptitle(f"The {len(places)} it got wrong")
    columns = max(2, math.ceil(math.sqrt(len(places))))
    rows = max(2, math.ceil(len(places) / columns))
    grid = figure.subplots(rows, columns).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, i in zip(grid, places, strict=False):
        axes.imshow(test.pixels[i].reshape(8, 8), cmap="gray_r")
        axes.set_title(f"{test.labels[i]} as {predicted[i]}", fontsize=9)


def run(key: int, output: Path) -> float:
    """Train, test, draw; return the test accuracy.

    Raises:
        OSError: the picture cannot be written.
    """
    console = Console(soft_wrap=True)
    data = digits()
    sizes = ", ".join(f"{len(part.labels)} {name}" for name, part in data._asdict().items())
    console.print(f"Handwritten digits, 8×8 pixels: {sizes}. Network 64-128-10, Adam {RATE}.")
    result = train(data, key, console)
    predicted = predict(result.state, data.test)
    accuracy = float(np.mean(predicted == data.test.labels))
    picture(result, data.test, predicted).savefig(output, dpi=110)
    console.print(
        f"Trained {EPOCHS} epochs in {result.seconds:.1f} s; kept the state of epoch "
        f"{int(np.argmin(result.validation_loss)) + 1}, the best on the validation part."
    )
    console.print(
        f"Test accuracy {accuracy:.2%} "
        f"({int(np.sum(predicted != data.test.labels))} of {len(predicted)} wrong)."
    )
    console.print(f"Picture: {output.resolve()}", soft_wrap=True)
    return accuracy
