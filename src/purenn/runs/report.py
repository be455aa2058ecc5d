"""What a run leaves behind for people and programs: numbers, pictures, a page."""

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from purenn import tree
from purenn._files import write_whole
from purenn.runs import pictures
from purenn.runs.setup import Setup
from purenn.runs.train import History, best_epoch, outputs, scores
from purenn.training import TrainState
from purenn.typing import Array


def write_metrics(folder: Path, history: History) -> None:
    """Write ``metrics.csv`` and ``metrics.jsonl``, a row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_whole(folder / "metrics.csv", text.getvalue().encode())
    lines = "".join(json.dumps(row) + "\n" for row in history)
    write_whole(folder / "metrics.jsonl", lines.encode())


def conclude(folder: Path, made: Setup, state: TrainState, history: History) -> dict[str, Any]:
    """Score every part once more, draw, write ``report.md``; return the scores by part."""
    found = {
        name: scores(made, state, part)
        for name, part in zip(
            ("train", "validation", "test"),
            (made.inputs.train, made.inputs.validation, made.inputs.test),
            strict=True,
        )
        if part is not None
    }
    kept = best_epoch(made, history)
    pictures.curves(folder / "curves.png", history, kept)
    pictures.weights(folder / "weights.png", state, made.inputs.shape)
    pictures.flow(folder / "layers.png", made, state)
    drawn = {"curves.png": "Loss and score", "weights.png": "First kernel"}
    drawn["layers.png"] = "Activations and gradients of each layer"
    if made.inputs.classes:
        name, part = next(
            (name, part)
            for name, part in (
                ("test", made.inputs.test),
                ("validation", made.inputs.validation),
                ("training", made.inputs.train),
            )
            if part is not None
        )
        predicted = labels_of(outputs(made, state, part.inputs))
        pictures.confusion(folder / "confusion.png", part.targets, predicted, made.inputs.classes)
        drawn["confusion.png"] = f"Confusion matrix of the {name} part"
    drawn = {name: title for name, title in drawn.items() if (folder / name).exists()}
    page = _page(made, state, history, kept, found, drawn)
    write_whole(folder / "report.md", page.encode())
    return found


def labels_of(logits: Array) -> Array:
    """The likeliest label of each example."""
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(np.int64)
    return np.asarray(logits.argmax(axis=-1))


def _page(
    made: Setup,
    state: TrainState,
    history: History,
    kept: int,
    found: dict[str, dict[str, float]],
    drawn: dict[str, str],
) -> str:
    names = list(next(iter(found.values())))
    parts = (("train", made.inputs.train), ("validation", made.inputs.validation))
    sizes = {name: len(part.inputs) for name, part in (*parts, ("test", made.inputs.test)) if part}
    rows = [
        f"| {name} | {sizes[name]} | " + " | ".join(f"{score[each]:.6g}" for each in names) + " |"
        for name, score in found.items()
    ]
    leaves = [
        f"| {'/'.join(map(str, way))} | {leaf.shape} | {leaf.size:,} |"
        for way, leaf in tree.leaves_with_paths(state.params)
    ]
    settings = [f"| {key} | `{value}` |" for key, value in asdict(made.config).items() if value]
    total = sum(leaf.size for leaf in tree.leaves(state.params))
    return "\n".join(
        [
            f"# {made.config.data}: {made.config.model}",
            "",
            f"The state after epoch {kept} of {len(history)}"
            + (", the best on the validation part." if made.inputs.validation else "."),
            "",
            "| part | examples | " + " | ".join(names) + " |",
            "|---|---:|" + "---:|" * len(names),
            *rows,
            "",
            *(f"![{title}]({name})" for name, title in drawn.items()),
            "",
            f"## {total:,} parameters",
            "",
            "| leaf | shape | entries |",
            "|---|---|---:|",
            *leaves,
            "",
            "## Configuration",
            "",
            "| key | value |",
            "|---|---|",
            *settings,
            "",
        ]
    )
