"""``purenn predict``: what a trained network says of other examples."""

import argparse
import csv
import sys
from pathlib import Path

from purenn.cli.errors import UsageError
from purenn.cli.show import find


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those that there are."""
    parser = commands.add_parser(
        "predict",
        help="apply a trained network to examples",
        description="Apply the network of a checkpoint, with the scaling that was fitted to its "
        "training part, and write a CSV row per example: its number, the predicted class and the "
        "probability of each class (its score, where the loss is no cross-entropy), or the "
        "predicted values. Where the examples have labels, the "
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
    from purenn.checkpoints import CheckpointError
    from purenn.runs.expressions import ConfigError
    from purenn.runs.trained import load, run_inputs

    path = find(options.checkpoint)
    if options.output is not None and not options.output.resolve().parent.is_dir():
        raise UsageError(f"--output: there is no folder {options.output.parent}")
    if options.output is not None and options.output.is_dir():
        raise UsageError(f"--output: {options.output} is a folder, expected a file")
    try:
        trained = load(path)
        inputs, targets = run_inputs(trained, options.data)
        outputs = trained.outputs(inputs)
        scores = {} if targets is None else trained.scores(outputs, targets)
    except (ConfigError, CheckpointError) as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror or error}") from None
    head, rows = trained.table(outputs)
    table = [["example", *head], *([i, *row] for i, row in enumerate(rows))]
    if options.output is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(table)
    else:
        try:
            with open(options.output, "w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows(table)
        except OSError as error:
            raise UsageError(f"--output: {options.output}: {error.strerror or error}") from None
    if scores:
        told = ", ".join(f"{k} {v:.4g}" for k, v in scores.items())
        print(f"{len(rows)} examples: {told}", file=sys.stderr)
    return 0
