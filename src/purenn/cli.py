"""The command line: ``purenn verify`` and ``purenn demo``."""

import argparse
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


class UsageError(Exception):
    """The command cannot run; its message is for a person."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 fine, 1 a rule failed, 2 it could not run."""
    parser = argparse.ArgumentParser(
        prog="purenn",
        description="Neural networks as pure functions, every derivative by hand and examined.",
    )
    parser.add_argument("--version", action="version", version=f"purenn {version('purenn')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_verify(commands)
    _add_demo(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except UsageError as error:
        print(f"purenn: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        hint = f"pip install 'purenn[{options.extra}]'"
        print(f"purenn: {error}; this command needs: {hint}", file=sys.stderr)
        return 2


def _add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "verify",
        help="examine hand-written derivatives",
        description="Examine every rule f_vjp of TARGET, found by name: draw its arguments from "
        "its annotations, compare value and cotangents with the exact derivative, with jax.vjp "
        "and with the jit-compiled equivalent of the reference, and print one table. "
        "Exit status: 0 if all pass, 1 if one does not, 2 if it could not run.",
    )
    parser.add_argument(
        "target",
        nargs="?",
        default="purenn.ops",
        metavar="TARGET",
        help="dotted module or package that holds the rules (default: %(default)s)",
    )
    parser.add_argument("rules", nargs="*", metavar="RULE", help="only these rules (default: all)")
    parser.add_argument(
        "--against",
        metavar="REFERENCE",
        help="dotted module or package with the same functions in JAX "
        "(default: reference.ops, which is in purenn's source repository, for purenn.ops)",
    )
    parser.add_argument(
        "--dtype",
        action="append",
        choices=["float32", "float64"],
        help="may be repeated (default: float32 and float64)",
    )
    parser.add_argument(
        "--device",
        choices=["cpu", "gpu", "all"],
        default="all",
        help="JAX devices of the jit-compiled equivalent (default: all that JAX sees)",
    )
    parser.add_argument(
        "--examples",
        type=_positive,
        default=40,
        metavar="N",
        help="inputs drawn per rule and dtype (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="of the draw (default: %(default)s)"
    )
    parser.set_defaults(run=_verify, extra="verify")


def _cannot_import(error: Exception, target: str, against: str) -> str:
    """What went wrong while the modules were imported, and where."""
    if isinstance(error, ModuleNotFoundError):
        told = f"{error}, neither installed nor in {Path.cwd()}"
        clone = "; it is in purenn's source repository: run there, or give --against"
        return told + (clone if error.name == "reference" else "")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if isinstance(error, SyntaxError) else f" ({frame.filename}:{frame.lineno})"
    return f"importing {target} or {against}: {type(error).__name__}: {error}{where}"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _verify(options: argparse.Namespace) -> int:
    import jax
    from rich.console import Console
    from rich.progress import track

    from purenn import verify
    from purenn.verify import report

    # As `python -m` does, so that both ways of starting find a reference in this folder.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    against = options.against or {"purenn.ops": "reference.ops"}.get(options.target)
    if against is None:
        raise UsageError(f"{options.target} needs --against REFERENCE, the same functions in JAX")
    for name in (options.target, against):
        if name.endswith(".py") or "/" in name or "\\" in name:
            raise UsageError(f"{name} is a path; give the dotted name, as in package.module")
    try:
        rules = verify.discover(options.target, against)
    except verify.DiscoveryError as error:
        raise UsageError(str(error)) from None
    except Exception as error:
        raise UsageError(_cannot_import(error, options.target, against)) from None
    unknown = set(options.rules) - {rule.name for rule in rules}
    if unknown:
        known = ", ".join(dict.fromkeys(rule.name for rule in rules))
        raise UsageError(
            f"no rule {', '.join(sorted(unknown))} in {options.target}; it has {known}"
        )
    chosen = [rule for rule in rules if not options.rules or rule.name in options.rules]
    try:
        devices = verify.devices(options.device)
    except RuntimeError as error:
        raise UsageError(str(error)) from None

    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(
        f"{options.target} against {against}, {options.examples} inputs per row, "
        f"seed {options.seed}, jax {jax.__version__} on {', '.join(map(str, devices))}"
    )
    jobs = [(rule, dtype) for rule in chosen for dtype in options.dtype or verify.DTYPES]
    findings = [
        verify.examine(rule, dtype, devices=devices, examples=options.examples, seed=options.seed)
        for rule, dtype in track(
            jobs, "examining", console=console, transient=True, disable=not console.is_terminal
        )
    ]
    report.show(findings, console)
    return 0 if all(finding.verdict == "pass" for finding in findings) else 1


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
