"""Results for people: a table, and a plot of the ratios."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def show(whole: dict[str, Any], console: Console) -> None:
    """A row per case and number of cores, a column per rival."""
    rivals = list(dict.fromkeys(name for each in whole["results"] for name in each["ratios"]))
    table = Table(
        "case", "cores", caption="our time ÷ that of the rival: median (quartiles); below 1 we win"
    )
    for rival in ("ours", *rivals):
        table.add_column(rival, justify="right")
    for each in whole["results"]:
        cells = [_cell(each["ratios"].get(rival)) for rival in rivals]
        ours = _time(each["seconds"]["purenn"])
        table.add_row(each["case"], str(each["cores"]), ours, *cells)
    console.print(table)
    absent = {name: why for each in whole["results"] for name, why in each["left_out"].items()}
    for name, why in absent.items():
        console.print(f"left out: {name} ({why})", highlight=False)
    told = ", ".join(f"{name} {value}" for name, value in whole["environment"].items())
    console.print(told, highlight=False)


def plot(whole: dict[str, Any], path: Path) -> None:
    """Medians with their quartiles, a line per case and number of cores."""
    from matplotlib.figure import Figure

    results = whole["results"]
    rivals = list(dict.fromkeys(name for each in results for name in each["ratios"]))
    figure = Figure(figsize=(10, 1.5 + 0.32 * len(results)), layout="constrained")
    axes = figure.subplots()
    for i, rival in enumerate(rivals):
        rows = [row for row, each in enumerate(results) if rival in each["ratios"]]
        found = [results[row]["ratios"][rival] for row in rows]
        axes.errorbar(
            [middle for _, middle, _ in found],
            rows,
            xerr=[
                [middle - low for low, middle, _ in found],
                [high - middle for _, middle, high in found],
            ],
            fmt="os^vDPX*"[i % 8],
            label=rival,
        )
    axes.axvline(1, color="0.6")
    axes.set_xscale("log")
    axes.set_yticks(range(len(results)), [f"{each['case']}, {each['cores']}" for each in results])
    axes.invert_yaxis()
    axes.set(xlabel="our time ÷ theirs: left of 1 we are faster", title="case, cores")
    axes.legend()
    figure.savefig(path, dpi=110)


def _cell(ratio: Any) -> str:
    return "" if ratio is None else "{1:.2f} ({0:.2f}-{2:.2f})".format(*ratio)


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-2 else f"{seconds * 1e3:.0f} ms"
