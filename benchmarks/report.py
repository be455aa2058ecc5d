"""Results for people: lines as they come, a table, and a plot of the ratios."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.turns import OURS


def lines(result: dict[str, Any]) -> Iterator[str]:
    """One line for a case with a number of cores, and its profile if it has one."""
    cores = result["cores"]
    where = f"{result['case']}, {cores} core{'s' if cores > 1 else ''}"
    if "error" in result:
        yield f"{where}: failed: {result['error']}"
        return
    ratios = [f"{rival} {middle:.2f}" for rival, (_, middle, _) in result["ratios"].items()]
    yield f"{where}: {'; '.join([_time(result['seconds'][OURS]), *ratios])}"
    for spent in result.get("profile", []):
        yield f"  {spent['share']:5.1%} {spent['calls']:8.1f} × {spent['function']}"


def show(found: Sequence[dict[str, Any]], console: Console) -> None:
    """A row per case and number of cores, a column per rival."""
    whole = [each for each in found if "error" not in each]
    rivals = _rivals(whole)
    table = Table(
        "case", "cores", caption="our time ÷ that of the rival: median (quartiles); below 1 we win"
    )
    for rival in ("ours", *rivals):
        table.add_column(rival, justify="right")
    for each in found:
        name, cores = each["case"], str(each["cores"])
        if "error" in each:
            table.add_row(name, cores, "failed")
            continue
        cells = [_cell(each["ratios"].get(rival)) for rival in rivals]
        table.add_row(name, cores, _time(each["seconds"][OURS]), *cells)
    console.print(table)
    absent = {name: why for each in whole for name, why in each["left_out"].items()}
    for name, why in absent.items():
        console.print(f"left out: {name} ({why})", highlight=False, markup=False)
    told = ", ".join(f"{name} {value}" for name, value in results.environment().items())
    console.print(told, highlight=False, markup=False)


def plot(found: Sequence[dict[str, Any]], path: Path) -> None:
    """Medians with their quartiles, a line per case and number of cores."""
    from matplotlib.figure import Figure

    whole = [each for each in found if "error" not in each]
    figure = Figure(figsize=(10, 1.5 + 0.32 * len(whole)), layout="constrained")
    axes = figure.subplots()
    for i, rival in enumerate(_rivals(whole)):
        rows = [row for row, each in enumerate(whole) if rival in each["ratios"]]
        ratios = [whole[row]["ratios"][rival] for row in rows]
        axes.errorbar(
            [middle for _, middle, _ in ratios],
            rows,
            xerr=[
                [middle - low for low, middle, _ in ratios],
                [high - middle for _, middle, high in ratios],
            ],
            fmt="os^vDPX*"[i % 8],
            label=rival,
        )
    axes.axvline(1, color="0.6")
    axes.set_xscale("log")
    axes.set_yticks(range(len(whole)), [f"{each['case']}, {each['cores']}" for each in whole])
    axes.invert_yaxis()
    axes.set(xlabel="our time ÷ theirs: left of 1 we are faster", title="case, cores")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    figure.savefig(path, dpi=110)


def _rivals(whole: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in whole for name in each["ratios"]))


def _cell(ratio: Any) -> str:
    return "" if ratio is None else "{1:.2f} ({0:.2f}-{2:.2f})".format(*ratio)


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-2 else f"{seconds * 1e3:.0f} ms"
