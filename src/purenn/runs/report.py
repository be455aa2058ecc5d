"""What a run leaves behind for people and programs: numbers, pictures, a page."""

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from purenn import training, tree
from purenn._files import write_whole
from purenn.runs import pictures
from purenn.runs.setup import Setup
from purenn.runs.train import EVALUATED, History, Place, best_epoch, scores
from purenn.training import TrainState


def write_metrics(folder: Path, history: History) -> None:
    """Write ``metrics.csv`` and ``metrics.jsonl``, a row per epoch; without any there are none."""
    for kind, text in _KINDS.items():
        file = folder / f"metrics.{kind}"
        if history:
            write_whole(file, text(history, True).encode())
        else:
            file.unlink(missing_ok=True)


def append_metrics(folder: Path, history: History) -> None:
    """Write the last row behind those that are there."""
    for kind, text in _KINDS.items():
        with open(folder / f"metrics.{kind}", "ab") as file:
            file.write(text(history[-1:], len(history) == 1).encode())


def _csv(rows: History, is_start: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    if is_start:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _jsonl(rows: History, is_start: bool) -> str:
    """JSON has neither NaN nor infinities: they are null."""
    return "".join(
        json.dumps({key: value if math.isfinite(value) else None for key, value in row.items()})
        + "\n"
        for row in rows
    )


_KINDS = {"csv": _csv, "jsonl": _jsonl}


def conclude(folder: Path, made: Setup, state: TrainState, place: Place) -> dict[str, Any]:
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
    history, kept = place.history, best_epoch(place)
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
        batches = training.batches(None, (part.inputs,), EVALUATED)
        predicted = training.labels(training.predict(made.model, state, batches))
        pictures.confusion(folder / "confusion.png", part.targets, predicted, made.inputs.classes)
        drawn["confusion.png"] = f"Confusion matrix of the {name} part"
    drawn = {name: title for name, title in drawn.items() if (folder / name).exists()}
    page = _page(made, state, history, kept, found, drawn)
    write_whole(folder / "report.md", page.encode())
    return found


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
