"""``purenn verify``: examine hand-written derivatives."""

import argparse
import sys
from pathlib import Path
from typing import Any

from purenn.cli.errors import UsageError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those that there are."""
    parser = commands.add_parser(
        "verify",
        help="examine hand-written derivatives",
        description="Examine every hand-written derivative of TARGET, found by name (f_vjp, "
        "f_fwd with f_bwd, f_grad, f_jvp, or jax.custom_vjp): draw its arguments from its "
        "annotations, compare value and derivative with the exact one, with jax.vjp and with the "
        "jit-compiled equivalent of the reference, and print one table. "
        "Exit status: 0 if all pass, 1 if one does not, 2 if it could not run.",
    )
    parser.add_argument(
        "target",
        nargs="?",
        default="purenn.ops",
        metavar="TARGET",
        help="file, or dotted module or package, that holds the rules (default: %(default)s)",
    )
    parser.add_argument("rules", nargs="*", metavar="RULE", help="only these rules (default: all)")
    parser.add_argument(
        "--against",
        metavar="REFERENCE",
        help="file, or dotted module or package, with the same functions in JAX; or 'numeric': "
        "complex steps and extrapolated differences of the functions themselves, as for a rule "
        "that has no reference (default: reference.ops, which is in purenn's source repository, "
        "for purenn.ops)",
    )
    parser.add_argument(
        "--dtype",
        action="append",
        choices=["float32", "float64", "bfloat16", "float16"],
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
    parser.add_argument(
        "--time-limit",
        type=_positive,
        default=60,
        metavar="SECONDS",
        help="for each rule (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write the report as a page, with pictures"
    )
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="measure the examiner instead: seed mistakes into every rule and count those caught",
    )
    parser.set_defaults(run=_verify, extra="verify")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _verify(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress

    from purenn.verify import report
    from purenn.verify.examine import KEPT
    from purenn.verify.run import CannotRunError, Job, Started, run

    for option, path in (("--json", options.json), ("--html", options.html)):
        if path is not None and not path.resolve().parent.is_dir():
            raise UsageError(f"{option}: there is no folder {path.parent}")
    against = options.against or {"purenn.ops": "reference.ops"}.get(options.target)
    job = Job(
        options.target,
        against,
        tuple(options.rules),
        tuple(options.dtype or ()),
        options.device,
        options.examples,
        options.seed,
        KEPT,
        options.time_limit,
        options.mutants,
    )
    console = Console(width=None if sys.stdout.isatty() else 110)
    environment: dict[str, Any] = {}
    names: list[str] = []

    def started(news: Started) -> None:
        environment.update(news.environment)
        names.extend(news.rules)
        console.print(
            f"{options.target} against {against or 'numeric'}, {options.examples} inputs per rule "
            f"and dtype, seed {options.seed}, jax {environment['jax']} on "
            f"{', '.join(environment['devices'])}",
            soft_wrap=True,
        )

    found: dict[int, Any] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("examining", total=None)
        try:
            for place, verdict in run(job, started=started):
                found[place] = verdict
                progress.update(task, total=len(names), completed=len(found))
                if not console.is_terminal:
                    print(
                        f"[{len(found)}/{len(names)}] {verdict.rule}: {verdict.verdict}",
                        file=sys.stderr,
                    )
        except CannotRunError as error:
            clone = "; it is in purenn's source repository: run there, or give --against"
            raise UsageError(f"{error}{clone if 'named reference' in str(error) else ''}") from None
    verdicts = [found[place] for place in sorted(found)]
    if options.mutants:
        from purenn.verify import power

        return power.show(verdicts, console)
    report.show(verdicts, console)
    if options.json is not None:
        report.write_json(options.json, report.as_dict(environment, verdicts))
    if options.html is not None:
        report.write_html(options.html, environment, verdicts)
    return 0 if all(verdict.verdict == "pass" for verdict in verdicts) else 1
