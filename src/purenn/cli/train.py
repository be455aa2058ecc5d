"""``purenn train``: from a few words to a trained network, with pictures and a report."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

from purenn.cli.errors import UsageError

_EXAMPLES = """examples:
  purenn train --data digits --model "dense(128), relu, dense(10)"
  purenn train --data digits --model "conv(16, (3, 3)), relu, max_pool((2, 2)), flatten, dense(10)"
  purenn train --data "spiral(points=200)" --model "dense(64), relu, dense(3)" --epochs 200 \\
      --optimizer adam --schedule "cosine_decay_schedule(0.02, steps)" --output spiral
  purenn train --data mnist:~/data/mnist --model "dense(256), relu, dropout(0.2), dense(10)"
  purenn train config.toml --key 1
  purenn train --resume --output spiral

A configuration is a TOML file of the same keys:
  data = "digits"
  model = "dense(128), relu, dense(10)"
  epochs = 30
"""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those that there are."""
    from purenn.runs.config import KEYS

    parser = commands.add_parser(
        "train",
        help="train a network on data of yours, or on carried or generated sets",
        description="Train a network, keep the state that does best on the validation part, and "
        "leave in the output folder: config.toml, metrics.csv and .jsonl, checkpoints, pictures "
        "(curves, confusion matrix, first kernel, activations and gradients of each layer) and "
        "report.md. Ctrl-C ends it after the step, --resume goes on with the same bits. "
        "Exit status: 0 done, 2 it could not run, 130 interrupted.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "config", nargs="?", type=Path, metavar="CONFIG.toml", help="the options below, as TOML"
    )
    for each in KEYS.values():
        _add_key(parser, each)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in the output folder, from its newest whole checkpoint",
    )
    parser.add_argument("--quiet", action="store_true", help="print no more than the result")
    parser.set_defaults(run=_train, extra="train")


def _add_key(parser: argparse.ArgumentParser, key: Field[Any]) -> None:
    limits = key.metadata
    option = f"--{key.name.replace('_', '-')}"
    is_told = isinstance(key.default, str | int | float) and key.default
    default = f" (default: {key.default})" if is_told else ""
    meaning = limits["meaning"].replace("%", "%%") + default
    if key.type is bool:
        parser.add_argument(
            option, action=argparse.BooleanOptionalAction, default=None, dest=key.name, help=meaning
        )
    else:
        kinds: dict[Any, str] = {str: "TEXT", int: "N", float: "X"}
        parser.add_argument(
            option,
            type=key.type,
            dest=key.name,
            metavar=None if "choices" in limits else kinds[key.type],
            choices=limits.get("choices"),
            help=meaning,
        )


def _train(options: argparse.Namespace) -> int:
    from rich.console import Console

    from purenn._files import locked
    from purenn.checkpoints import CheckpointError
    from purenn.runs import config as configs
    from purenn.runs.expressions import ConfigError
    from purenn.runs.setup import REFUSED, setup

    console = Console(width=None if sys.stdout.isatty() else 110, quiet=options.quiet)
    try:
        config = configs.make(_entries(options))
        folder = Path(config.output).expanduser()
        _check_output(folder, options.resume)
        made = setup(config)
        folder.mkdir(parents=True, exist_ok=True)
        _check_output(folder, options.resume)
        with locked(folder):
            return _complete(options, console, made, folder)
    except (ConfigError, CheckpointError) as error:
        raise UsageError(str(error)) from None
    except REFUSED as error:
        advice = "; a smaller learning rate, clip or other data may help"
        raise UsageError(f"{error}{advice if 'the loss' in str(error) else ''}") from None
    except BlockingIOError:
        raise UsageError(f"output: another process is running in {folder}") from None
    except OSError as error:
        raise UsageError(_told(error)) from None


def _check_output(folder: Path, is_resumed: bool) -> None:
    """Refuse a folder of a run that is not gone on with, and one of something else."""
    from purenn._files import LOCK
    from purenn.checkpoints import steps
    from purenn.runs.train import FOLDER

    if steps(folder / FOLDER):
        if not is_resumed:
            raise UsageError(
                f"output: {folder} holds a run; --resume goes on with it, --output names another"
            )
    elif folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise UsageError(f"output: {folder} is not empty and holds no run")


def _complete(options: argparse.Namespace, console: Any, made: Any, folder: Path) -> int:
    """Run from where the run in the folder is, which no other process changes, to the end."""
    from purenn._files import remove_left_over, write_whole
    from purenn.runs import config as configs
    from purenn.runs import report
    from purenn.runs.train import FOLDER, begin, best_epoch, restore, resume

    saved = folder / FOLDER
    _check_output(folder, options.resume)
    place = resume(made, saved, _warn) if options.resume else begin(made)
    remove_left_over(folder)
    # If the folder cannot be written to, it is found out now.
    write_whole(folder / "config.toml", configs.dump(made.config).encode())
    report.write_metrics(folder, place.history)
    _tell(console, made, place, folder)
    place, is_interrupted = _run(console, made, place, folder)
    if is_interrupted:
        console.print(
            f"Stopped at step {int(place.state.step)}. To go on: "
            f"purenn train --resume --output {shlex.quote(str(folder))}",
            soft_wrap=True,
        )
        return 130
    state = restore(saved, made, place)
    report.write_metrics(folder, place.history)
    for name, scores in report.conclude(folder, made, state, place).items():
        told = ", ".join(f"{each} {value:.4g}" for each, value in scores.items())
        print(f"{name}: {told}")
    console.print(
        f"Kept the state after epoch {best_epoch(place)} of {len(place.history)}. "
        f"Report: {folder / 'report.md'}",
        soft_wrap=True,
    )
    return 0


def _told(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror or error}"


def _warn(message: str) -> None:
    print(f"purenn: {message}", file=sys.stderr)


def _entries(options: argparse.Namespace) -> dict[str, Any]:
    """Those of the file, and then those of the command line; else those of the run."""
    from purenn.runs.config import KEYS, load
    from purenn.runs.expressions import ConfigError

    given = {key: getattr(options, key) for key in KEYS if getattr(options, key) is not None}
    entries: dict[str, Any] = {}
    if options.config is not None:
        entries = load(options.config)
    elif options.resume:
        folder = Path(given.get("output", KEYS["output"].default)).expanduser()
        before = folder / "config.toml"
        if not before.is_file():
            raise ConfigError(f"output: {folder} holds no run to resume: there is no {before}")
        # The folder may have had another name.
        entries = {**load(before), "output": str(folder)}
    return entries | given


def _tell(console: Any, made: Any, place: Any, folder: Path) -> None:
    from purenn import tree

    inputs = made.inputs
    parts = ("train", inputs.train), ("validation", inputs.validation), ("test", inputs.test)
    sizes = ", ".join(f"{len(part.inputs)} {name}" for name, part in parts if part is not None)
    what = f"{len(inputs.classes)} classes" if inputs.classes else "values"
    shape = "×".join(map(str, inputs.shape))
    count = sum(leaf.size for leaf in tree.leaves(place.state.params))
    console.print(f"{made.config.data}: inputs {shape}, {what}; {sizes}", soft_wrap=True)
    console.print(
        f"{', '.join(made.layers)}: {count:,} parameters; {made.loss.__name__}; "
        f"{made.config.optimizer}",
        soft_wrap=True,
    )
    if int(place.state.step):
        console.print(
            f"Going on after step {int(place.state.step)}, "
            f"epoch {len(place.history)} of {made.config.epochs}."
        )


def _run(console: Any, made: Any, place: Any, folder: Path) -> tuple[Any, bool]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from purenn.runs import report
    from purenn.runs.train import FOLDER, run
    from purenn.training import interruptible

    columns: Sequence[Any] = [
        TextColumn("epoch {task.fields[epoch]}/" + str(made.config.epochs)),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    ]
    total = made.config.epochs * made.per_epoch
    shown = console.is_terminal and not console.quiet
    is_interrupted = False
    with (
        interruptible() as interrupted,
        Progress(*columns, console=console, disable=not shown, transient=True) as bar,
    ):
        done = int(place.state.step)
        task = bar.add_task("", total=total, completed=done, epoch=len(place.history), told="")
        for news in run(made, place, interrupted, folder=folder / FOLDER):
            place, is_interrupted = news.place, interrupted()
            rate = news.seen / max(news.seconds, 1e-9)
            told = f"loss {news.loss:.4f}{_validated(place.history)}  {rate:,.0f} examples/s"
            bar.update(task, completed=int(place.state.step), epoch=news.epoch, told=told)
            if news.is_epoch:
                report.append_metrics(folder, place.history)
                if not shown:
                    console.print(
                        f"epoch {news.epoch}/{made.config.epochs}  {told}", highlight=False
                    )
    return place, is_interrupted and len(place.history) < made.config.epochs


def _validated(history: Any) -> str:
    if not history:
        return ""
    kinds = {
        "validation_loss": "validation",
        "validation_accuracy": "accuracy",
        "validation_r2": "R²",
    }
    return "".join(f"  {kinds[k]} {v:.4f}" for k, v in history[-1].items() if k in kinds)
