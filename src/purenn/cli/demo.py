"""``purenn demo``: train a network on handwritten digits."""

import argparse
from pathlib import Path

from purenn.cli.errors import UsageError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those that there are."""
    parser = commands.add_parser(
        "demo",
        help="train a network on handwritten digits",
        description="Train 64-128-10 on the 1,797 handwritten digits that scikit-learn carries, "
        "print its accuracy on digits it has never seen, and save one picture: loss curves, "
        "confusion matrix, and the digits that it got wrong.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("purenn-digits.png"),
        metavar="FILE",
        help="where the picture goes (default: %(default)s)",
    )
    parser.add_argument(
        "--key", type=int, default=0, metavar="SEED", help="random key (default: %(default)s)"
    )
    parser.set_defaults(run=_demo, extra="train")


def _demo(options: argparse.Namespace) -> int:
    from matplotlib.backend_bases import FigureCanvasBase

    from purenn import demo

    kinds = FigureCanvasBase.get_supported_filetypes()
    if options.output.suffix.lstrip(".") not in kinds:
        raise UsageError(f"--output: {options.output} is none of {', '.join(sorted(kinds))}")
    if not options.output.parent.is_dir():
        raise UsageError(f"--output: there is no folder {options.output.parent}")
    try:
        demo.run(options.key, options.output)
    except OSError as error:
        raise UsageError(f"--output: {error}") from None
    return 0
