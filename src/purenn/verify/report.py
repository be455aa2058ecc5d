"""The table: one row per rule and dtype."""

from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from purenn.verify.examine import Finding

_STYLES = {"pass": "green", "fail": "bold red", "error": "bold magenta"}


def table(findings: Sequence[Finding]) -> Table:
    """Rule, dtype, the worst error of the derivative beside autodiff's, verdict."""
    it = Table(
        caption="Worst error of a derivative against the exact one, in units in the last place "
        "(ULP) of the terms that it is the sum of.",
        caption_justify="left",
    )
    it.add_column("rule", overflow="fold", min_width=20)
    it.add_column("dtype", no_wrap=True)
    it.add_column("by hand", justify="right")
    it.add_column("autodiff", justify="right")
    it.add_column("verdict")
    for finding in findings:
        it.add_row(
            str(finding.rule),
            finding.dtype,
            _number(finding.worst),
            _number(finding.autodiff_worst),
            Text(finding.verdict, style=_STYLES[finding.verdict]),
        )
    return it


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print the table, then what is wrong, then how many passed."""
    console.print(table(findings))
    bad = [finding for finding in findings if finding.verdict != "pass"]
    for finding in bad:
        heading = Text(f"\n{finding.rule} in {finding.dtype}: {finding.verdict}", style="bold red")
        console.print(Group(heading, Text(finding.reason)), soft_wrap=True)
    console.print(f"{len(findings) - len(bad)} of {len(findings)} examinations passed")


def _number(ulps: float) -> str:
    if ulps != ulps:
        return "–"
    return f"{ulps:.2f}" if ulps < 100 else f"{ulps:.1e}"
