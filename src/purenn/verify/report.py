"""The report: a table for a terminal, a file for a program, a page for a browser."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from purenn.verify.verdict import Verdict

_STYLES = {"pass": "green", "fail": "bold red", "error": "bold magenta", "undecided": "yellow"}


def table(verdicts: Sequence[Verdict]) -> Table:
    """Per rule and dtype the worst error of the derivative beside autodiff's, and the verdict."""
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
    for verdict in verdicts:
        word = Text(verdict.verdict, style=_STYLES[verdict.verdict])
        how = _how(verdict)
        word = Text.assemble(word, f" ({how})") if how else word
        for i, dtype in enumerate(verdict.worst_ulp or ("–",)):
            it.add_row(
                verdict.rule if i == 0 else "",
                dtype,
                _number(verdict.worst_ulp.get(dtype)),
                _number(verdict.autodiff_worst_ulp.get(dtype)),
                word if i == 0 else "",
            )
    return it


def _how(verdict: Verdict) -> str:
    """By what the verdict was reached, where it is not the exact truth and 8 ULP."""
    found = [word for word in ("numeric", "float64") if word in verdict.against]
    if verdict.verdict == "pass" and any("no worse than JAX" in note for note in verdict.notes):
        found.append("as autodiff")
    return ", ".join(found)


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print the table, what is wrong, what else there is to know, and how many passed."""
    console.print(table(verdicts))
    bad = [verdict for verdict in verdicts if verdict.verdict != "pass"]
    for verdict in bad:
        console.print(Text(f"\n{verdict.rule}: {verdict.verdict}", style="bold red"))
        console.print(Text(verdict.reason), soft_wrap=True)
        if verdict.counterexample:
            console.print(Text(f"\n{verdict.counterexample}"), soft_wrap=True)
    for verdict in verdicts:
        for note in (*verdict.notes, *_asides(verdict)):
            console.print(Text(f"{verdict.rule}: {note}", style="dim"), soft_wrap=True)
    console.print(f"{len(verdicts) - len(bad)} of {len(verdicts)} rules passed")


def _asides(verdict: Verdict) -> list[str]:
    found = [f"examined against {verdict.against}"] if verdict.against not in ("exact", "") else []
    for check in verdict.checks:
        if check.check == "not finite" and check.verdict != "pass":
            found.append(f"on infinite or NaN inputs: {check.reason}")
        if check.check == "kinks":
            found.append(check.note)
    return found


def as_dict(environment: dict[str, Any], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The report as plain data: one row per rule."""
    return {"environment": environment, "rules": [verdict.row() for verdict in verdicts]}


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write the report; an infinite error is the largest float, which JSON can say."""
    path.write_text(json.dumps(_sayable(report), indent=2, ensure_ascii=False) + "\n", "utf-8")


def write_html(path: Path, environment: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
    """Write the page, with its pictures."""
    from purenn.verify.html import page

    report = as_dict(environment, verdicts)
    for row, verdict in zip(report["rules"], verdicts, strict=True):
        row["points"] = verdict.points
    path.write_text(page(report), "utf-8")


def _sayable(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _sayable(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_sayable(value) for value in x]
    if isinstance(x, float) and not math.isfinite(x):
        return None if math.isnan(x) else math.copysign(sys.float_info.max, x)
    return x


def _number(ulps: float | None) -> str:
    if ulps is None:
        return "–"
    return f"{ulps:.2f}" if ulps < 100 else f"{ulps:.1e}"
