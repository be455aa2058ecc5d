"""Pictures of a run, as PNG."""

from pathlib import Path
from typing import Any

import numpy as np

from purenn import tree
from purenn.runs.setup import Setup, training_batches
from purenn.runs.train import History
from purenn.training import TrainState
from purenn.typing import Array

_FILTERS = 32  # most that one picture shows
_EXAMPLES = 256


def curves(path: Path, history: History, kept: int) -> None:
    """Loss, and accuracy or R², of each epoch; the epoch that is kept is marked."""
    figure, (left, right) = _figure(1, 2, (10, 4))
    epochs = [row["epoch"] for row in history]
    for name in ("train_loss", "validation_loss"):
        if name in history[0]:
            left.plot(epochs, [row[name] for row in history], label=name.replace("_", " "))
    left.set(xlabel="epoch", ylabel="mean loss", title="Loss")
    if all(row["train_loss"] > 0 for row in history):
        left.set_yscale("log")
    for axes in (left, right):
        axes.axvline(kept, color="0.6", linestyle=":", label="kept")
    for name in ("validation_accuracy", "validation_r2", "learning_rate"):
        if name in history[0]:
            right.plot(epochs, [row[name] for row in history], label=name.replace("_", " "))
            right.set(title=name.replace("_", " ").replace("r2", "R²"))
            break
    right.set(xlabel="epoch")
    left.legend()
    right.legend()
    figure.savefig(path, dpi=110)


def confusion(path: Path, labels: Array, predicted: Array, classes: tuple[str, ...]) -> None:
    """How often each class was taken for each."""
    side = min(14.0, 3 + 0.45 * len(classes))
    figure, axes = _figure(1, 1, (side, side))
    draw_confusion(axes, labels, predicted, classes)
    figure.savefig(path, dpi=110)


def draw_confusion(axes: Any, labels: Array, predicted: Array, classes: tuple[str, ...]) -> None:
    """The same within a picture."""
    from sklearn.metrics import confusion_matrix

    count = len(classes)
    counts = confusion_matrix(labels, predicted, labels=range(count))
    axes.imshow(np.sqrt(counts), cmap="Blues")
    if count <= 25:
        middle = np.sqrt(counts).max() / 2
        for row, column in np.argwhere(counts):
            color = "white" if np.sqrt(counts[row, column]) > middle else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=color)
        axes.set_xticks(range(count), classes, rotation=90 if count > 10 else 45)
        axes.set_yticks(range(count), classes)
    right = float(np.mean(labels == predicted))
    axes.set(xlabel="predicted", ylabel="true", title=f"{right:.2%} of {len(labels)} right")


def weights(path: Path, state: TrainState, input_shape: tuple[int, ...]) -> None:
    """The kernel of the first layer: as images where the inputs are images, else as a matrix."""
    kernels = [leaf for way, leaf in tree.leaves_with_paths(state.params) if leaf.ndim > 1]
    if not kernels:
        return
    first = _first(state.params, kernels[0])
    images = None
    if first.ndim == 4:
        images = np.moveaxis(first.mean(axis=2), -1, 0)
    elif len(input_shape) == 3 and first.shape[0] == np.prod(input_shape):
        images = np.moveaxis(first.reshape(*input_shape, -1).mean(axis=2), -1, 0)
    if images is None:
        figure, axes = _figure(1, 1, (8, 5))
        flat = first.reshape(-1, first.shape[-1])
        limit = float(np.abs(flat).max()) or 1.0
        shown = axes.imshow(flat, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        figure.colorbar(shown)
        axes.set(xlabel="unit", ylabel="input", title="First kernel")
    else:
        shown = images[:_FILTERS]
        columns = min(8, len(shown))
        rows = -(-len(shown) // columns)
        figure, grid = _figure(rows, columns, (columns * 1.2, rows * 1.2 + 0.5))
        limit = float(np.abs(shown).max()) or 1.0
        for axes in np.ravel(grid):
            axes.axis("off")
        for axes, image in zip(np.ravel(grid), shown, strict=False):
            axes.imshow(image, cmap="RdBu", vmin=-limit, vmax=limit)
        figure.suptitle(f"First kernel: {len(shown)} of {len(images)} units")
    figure.savefig(path, dpi=110)


def _first(params: Any, otherwise: Array) -> Array:
    """The first kernel in the order of the layers, which a tree of sorted keys has not."""
    for layer in params.values():
        for _, leaf in tree.leaves_with_paths(layer):
            if leaf.ndim > 1:
                return np.asarray(leaf)
    return otherwise


def flow(path: Path, made: Setup, state: TrainState) -> None:
    """Activations of each layer, and gradients of each parameter, for a batch of training."""
    batch = next(training_batches(made, 0, 1))
    inputs, targets, *rest = (part[:_EXAMPLES] for part in batch)
    activations = {}
    x = inputs
    for name, layer in made.layers.items():
        x = layer.forward(state.params.get(name, {}), state.state.get(name, {}), x)
        activations[name] = x
    key = state.key if made.objective.stochastic else None
    grads = made.objective.grad(state.params, state.state, (inputs, targets, *rest), key)
    leaves = {"/".join(map(str, way)): leaf for way, leaf in tree.leaves_with_paths(grads)}
    height = 1.5 + 0.35 * max(len(activations), len(leaves))
    figure, (left, right) = _figure(1, 2, (12, height))
    _spread(left, activations, "Activations")
    _spread(right, leaves, "Gradients")
    figure.savefig(path, dpi=110)


def _spread(axes: Any, values: dict[str, Array], title: str) -> None:
    quantiles = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
    for row, x in enumerate(values.values()):
        low, start, q1, middle, q3, stop, high = np.quantile(x.astype(np.float64), quantiles)
        axes.plot([low, high], [row, row], color="C0", linewidth=0.8)
        axes.plot([start, stop], [row, row], color="C0", linewidth=3)
        axes.plot([q1, q3], [row, row], color="C0", linewidth=7)
        axes.plot(middle, row, "|", color="white")
    axes.set_yticks(range(len(values)), values.keys())
    axes.invert_yaxis()
    axes.set(title=f"{title}: range, 90 %, half, median")
    axes.set_xscale("symlog", linthresh=_least(values))
    axes.axvline(0, color="0.7", linewidth=0.5)


def _least(values: dict[str, Array]) -> float:
    sizes = [float(np.median(np.abs(x))) for x in values.values() if x.size]
    return min([size for size in sizes if size > 0], default=1.0)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns)
