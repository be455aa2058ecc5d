"""``purenn predict``: what a trained network says of other examples."""

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from purenn.cli.errors import UsageError
from purenn.cli.show import find


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those that there are."""
    parser = commands.add_parser(
        "predict",
        help="apply a trained network to examples",
        description="Apply the network of a checkpoint, with the scaling that was fitted to its "
        "training part, and write a CSV row per example: its number, the predicted class and the "
        "probability of each class, or the predicted values. Where the examples have labels, the "
        "score is printed too. Exit status: 0 fine, 2 it could not run.",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help="a file, or the folder of a run: its best checkpoint, or the newest",
    )
    parser.add_argument(
        "--data",
        metavar="TEXT",
        help="as for train, with the test part where the data bring one; or an .npy file of inputs "
        "alone (default: the test part of the run)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the CSV file (default: standard output)"
    )
    parser.set_defaults(run=_predict, extra="train")


def _predict(options: argparse.Namespace) -> int:
    import numpy as np

    from purenn.checkpoints import CheckpointError
    from purenn.ops import activations
    from purenn.runs.expressions import ConfigError
    from purenn.runs.report import labels_of
    from purenn.runs.trained import load, run_inputs

    path = find(options.checkpoint)
    if options.output is not None and not options.output.resolve().parent.is_dir():
        raise UsageError(f"--output: there is no folder {options.output.parent}")
    try:
        trained = load(path)
        inputs, targets = run_inputs(trained, options.data)
        outputs = trained.outputs(inputs)
    except (ConfigError, CheckpointError) as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror or error}") from None
    rows: list[list[Any]]
    if trained.classes:
        head = ["example", "predicted", *(f"p({name})" for name in trained.classes)]
        if outputs.shape[-1] == 1:
            ones = activations.sigmoid(outputs)
            shares = np.concatenate([1 - ones, ones], axis=1)
        else:
            shares = activations.softmax(outputs)
        labels = labels_of(outputs)
        rows = [
            [i, trained.classes[label], *(f"{p:.6g}" for p in share)]
            for i, (label, share) in enumerate(zip(labels, shares, strict=True))
        ]
    else:
        flat = outputs.reshape(len(outputs), -1)
        head = ["example", *(f"predicted_{k}" for k in range(flat.shape[1]))]
        rows = [[i, *(f"{value:.9g}" for value in row)] for i, row in enumerate(flat)]
    if options.output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows([head, *rows])
    else:
        with open(options.output, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *rows])
    if targets is not None:
        told = ", ".join(f"{k} {v:.4g}" for k, v in trained.scores(outputs, targets).items())
        print(f"{len(rows)} examples: {told}", file=sys.stderr)
    return 0
