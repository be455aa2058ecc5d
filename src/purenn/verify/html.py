"""The report as one page that needs nothing else: no script, no network, no font.

The page is well-formed XML as well, so that whatever reads XML can read it.
"""

import html
import math
import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from numbers import Real
from string import Template
from typing import Any, NamedTuple

from purenn.verify.judge import TOLERANCE

_MARKS = {"fail": "✗", "error": "!", "undecided": "?", "pass": "✓"}  # the worst first
_SERIES = {"by_hand": "by hand", "autodiff": "autodiff"}
_MOST_POINTS = 1500

# The plot's box in a picture of 400 by 290, narrow enough for its text to be read on a phone.
_LEFT, _RIGHT, _TOP, _INFINITY, _BOTTOM = 56, 380, 34, 38, 244
_FLOOR = -2  # the power of ten that smaller errors are drawn at


def page(report: dict[str, Any]) -> str:
    """The whole report as HTML; what is missing from it is left out."""
    environment, rules = report.get("environment") or {}, report.get("rules") or []
    target = environment.get("target")
    return _PAGE.substitute(
        style=_STYLE,
        title=_text(f"purenn verify: {target}" if target else "purenn verify"),
        summary=_text(_summary(rules)),
        environment=_environment(environment),
        jumps=_jumps(rules) if rules else "",
        table=_table(rules) if rules else "",
        sections="".join(_section(i, rule) for i, rule in enumerate(rules)),
    )


def _summary(rules: Sequence[dict[str, Any]]) -> str:
    counts = Counter(map(_verdict, rules))
    verdicts = dict.fromkeys(["pass", "fail", "undecided", "error", *counts])
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts)
    return f"{len(rules)} {'rule' if len(rules) == 1 else 'rules'} examined: {told}."


def _environment(environment: dict[str, Any]) -> str:
    rows = []
    for name, value in environment.items():
        told = ", ".join(map(_text, value)) if isinstance(value, list | tuple) else _text(value)
        rows.append(f"<div><dt>{_text(name)}</dt><dd>{told}</dd></div>\n")
    return f'<dl class="environment">\n{"".join(rows)}</dl>\n' if rows else ""


def _jumps(rules: Sequence[dict[str, Any]]) -> str:
    """Links to the sections, verdict by verdict, the worst first."""
    links: dict[str, str] = dict.fromkeys([*_MARKS, *map(_verdict, rules)], "")
    for i, rule in enumerate(rules):
        links[_verdict(rule)] += f'<li><a href="#rule-{i}">{_name(rule)}</a></li>\n'
    groups = [f"<div>{_badge(it)}\n<ul>\n{links[it]}</ul></div>\n" for it in links if links[it]]
    return f'<nav aria-label="Rules by verdict">\n{"".join(groups)}</nav>'


def _table(rules: Sequence[dict[str, Any]]) -> str:
    worst = ("worst_ulp", "autodiff_worst_ulp")
    dtypes = dict.fromkeys(t for rule in rules for key in worst for t in rule.get(key) or {})
    rows = ""
    for i, rule in enumerate(rules):
        errors = ((rule.get(key) or {}).get(t) for t in dtypes for key in worst)
        cells = f"<td>{_badge(_verdict(rule))}</td>{''.join(map(_cell, errors))}"
        rows += f'<tr><th scope="row"><a href="#rule-{i}">{_name(rule)}</a></th>{cells}</tr>\n'
    return _TABLE.substitute(
        tolerance=f"{TOLERANCE:g}",
        groups='<colgroup span="2"></colgroup>' * (1 + len(dtypes)),
        dtypes="".join(f'<th scope="colgroup" colspan="2">{_text(t)}</th>' for t in dtypes),
        pairs="".join(f'<th scope="col">{it}</th>' for it in _SERIES.values()) * len(dtypes),
        rows=rows,
    )


def _cell(ulps: Any) -> str:
    mark = ' class="over"' if _real(ulps) > TOLERANCE else ""
    return f"<td{mark}>{_number(ulps)}</td>"


def _section(i: int, rule: dict[str, Any]) -> str:
    facts = [(key, rule[key]) for key in ("convention", "against") if rule.get(key)]
    return _SECTION.substitute(
        i=i,
        name=_name(rule),
        badge=_badge(_verdict(rule)),
        facts=" · ".join(f"{key}: {_text(value)}" for key, value in facts),
        reason=_within('<p class="told">', rule.get("reason"), "</p>\n"),
        counterexample=_within(_CODE, rule.get("counterexample"), "</code></pre>\n"),
        checks=_list("Checks", map(_check, rule.get("checks") or [])),
        notes=_list("Notes", map(_text, rule.get("notes") or [])),
        figures="".join(
            _figure(f"plot-{i}-{j}", _text(rule.get("rule")), _text(dtype), entries or [])
            for j, (dtype, entries) in enumerate((rule.get("points") or {}).items())
        ),
    )


def _within(before: str, text: Any, after: str) -> str:
    return f"{before}{_text(text)}{after}" if text else ""


def _list(heading: str, items: Iterable[str]) -> str:
    rows = "".join(f"<li>{item}</li>\n" for item in items)
    return f'<h3>{heading}</h3>\n<ul class="{heading.lower()}">\n{rows}</ul>\n' if rows else ""


def _check(check: dict[str, Any]) -> str:
    note = _within(' <span class="muted">', check.get("note"), "</span>")
    reason = _within('<p class="told">', check.get("reason"), "</p>")
    return f"{_badge(_verdict(check))}<div>{_text(check.get('check'))}{note}{reason}</div>"


def _text(value: Any) -> str:
    """Escaped, and what neither XML nor UTF-8 can carry replaced."""
    plain = "–" if value is None or value != value else str(value)
    unfit = r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    return html.escape(re.sub(unfit, "\N{REPLACEMENT CHARACTER}", plain))


def _verdict(it: dict[str, Any]) -> str:
    return str(it.get("verdict"))


def _badge(verdict: str) -> str:
    kind = verdict if verdict in _MARKS else "undecided"
    mark = f'<span aria-hidden="true">{_MARKS[kind]}</span>'
    return f'<span class="verdict" style="color: var(--{kind})">{mark} {_text(verdict)}</span>'


def _name(rule: dict[str, Any]) -> str:
    """The rule's name, which a long line may break at an underscore."""
    return _text(rule.get("rule")).replace("_", "_<wbr/>")


def _real(value: Any) -> float:
    return float(value) if isinstance(value, Real) else math.nan


def _number(value: Any) -> str:
    ulps = _real(value)
    if not math.isfinite(ulps):
        return "∞" if ulps > 0 else "–"
    return f"{ulps:.2f}" if ulps < 100 else f"{ulps:.1e}"


class _Point(NamedTuple):
    name: str
    at: float
    error: float


class _Across:
    """The axis of inputs: linear up to ``10**unit``, then a level per decade.

    Decades in a row without an input take the room of one: inputs are dense around 0, and a few
    of them are at the ends of the dtype.
    """

    def __init__(self, inputs: Iterable[float]) -> None:
        finite = [x for x in inputs if math.isfinite(x)] or [0.0]
        largest = max(map(abs, finite)) or 1.0
        self.unit = min(0, max(-300, math.ceil(math.log10(largest)) - 1))
        found = [_level(x, self.unit) for x in finite]
        levels = {*map(math.floor, found), *map(math.ceil, found)}
        if len(levels) == 1:
            levels |= {min(levels) - 1, max(levels) + 1}
        levels |= {k for k in (-1, 0, 1) if min(levels) < k < max(levels)}
        self.levels = sorted(levels)  # drawn at equal distances

    def place(self, x: float) -> float:
        return self._place(_level(x, self.unit))

    def gaps(self) -> list[tuple[float, float]]:
        """The places between which decades are drawn shorter."""
        return [(self._place(a), self._place(b)) for a, b in pairwise(self.levels) if b - a > 1]

    def ticks(self) -> dict[float, str]:
        wanted = [0, self.levels[0], self.levels[-1], *sorted(self.levels, key=abs)]
        drawn = {self._place(k): self._label(k) for k in wanted if k in self.levels}
        return _apart(drawn, 6, 3.6)

    def _place(self, level: float) -> float:
        last = len(self.levels) - 1
        i = min(max(bisect(self.levels, level), 1), last)
        left, right = self.levels[i - 1], self.levels[i]
        share = (min(max(level, left), right) - left) / (right - left)
        return _LEFT + (i - 1 + share) / last * (_RIGHT - _LEFT)

    def _label(self, level: int) -> str:
        sign = "−" if level < 0 else ""
        return sign + _power(abs(level) - 1 + self.unit) if level else "0"


class _Up:
    """The axis of errors: logarithmic, an infinite one above all others."""

    def __init__(self, errors: Sequence[float]) -> None:
        largest = max((error for error in errors if 0 < error < math.inf), default=1.0)
        self.top = max(2, math.ceil(math.log10(largest)))
        self.infinite = math.inf in errors

    def place(self, error: float) -> float:
        if error == math.inf:
            return _INFINITY
        return self._place(max(_FLOOR, math.log10(error)) if error > 0 else _FLOOR)

    def ticks(self) -> dict[float, str]:
        ends = {_BOTTOM: f"≤{_power(_FLOOR)}"} | ({_INFINITY: "∞"} if self.infinite else {})
        powers = range(0, self.top + 1, math.ceil(self.top / 5))
        return _apart(ends | {self._place(k): _power(k) for k in powers}, 13, 0)

    def _place(self, power: float) -> float:
        top = _INFINITY + 14 if self.infinite else _TOP
        return _BOTTOM - (power - _FLOOR) / (self.top - _FLOOR) * (_BOTTOM - top)


def _level(x: float, unit: int) -> float:
    """How many steps of the axis from 0; whole for the float32 nearest to a power of ten."""
    decades = math.log10(abs(x)) - unit if x else 0.0
    level = 1 + decades if decades > 0 else abs(x) / 10.0**unit
    return math.copysign(level if level == math.inf else round(level, 6), x)


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -3 < exponent < 3 else f"1e{exponent}".replace("-", "−")


def _apart(ticks: dict[float, str], room: float, per_letter: float) -> dict[float, str]:
    """As many labels, by their places, as do not touch: the first ones first."""
    kept: dict[float, str] = {}
    for place, label in ticks.items():
        if all(abs(place - p) >= room + per_letter * len(label + it) for p, it in kept.items()):
            kept[place] = label
    return kept


def _points(entries: Sequence[dict[str, Any]], key: str) -> list[_Point]:
    """What can be drawn: a number at a number."""
    return [
        _Point(str(entry.get("name")), float(at), float(error))
        for entry in entries
        for at, error in zip(entry.get("at", ()), entry.get(key, ()), strict=False)
        if not (math.isnan(_real(at)) or math.isnan(_real(error)))
    ]


def _thin(points: Sequence[_Point]) -> Sequence[_Point]:
    """No more than can be told apart: the worst ones, and of the rest some of every size."""
    ranked = sorted(points, key=lambda it: -it.error)
    worst, rest = ranked[: _MOST_POINTS // 2], ranked[_MOST_POINTS // 2 :]
    return worst + rest[:: math.ceil(len(rest) / (_MOST_POINTS - len(worst))) or 1]


def _figure(ident: str, rule: str, dtype: str, entries: Sequence[dict[str, Any]]) -> str:
    """One plot with its caption, which says in words what there is to see."""
    every = {key: _points(entries, key) for key in _SERIES}
    drawn = {key: _thin(series) for key, series in every.items()}
    points = [point for series in every.values() for point in series]
    if not points:
        return ""
    across, up = _Across(it.at for it in points), _Up([it.error for it in points])
    told = [f"Highest {_SERIES[key]}: {_worst(series)}." for key, series in every.items() if series]
    if (few := sum(map(len, drawn.values()))) < len(points):
        told.append(f"{few} of {len(points)} points are drawn, the worst among them.")
    if across.gaps():
        told.append("Shaded: decades without an input, drawn shorter.")
    return _FIGURE.substitute(
        id=ident,
        rule=rule,
        dtype=dtype,
        told=_text(" ".join(told)),
        tolerance=f"{TOLERANCE:g}",
        limit=f"{up.place(TOLERANCE):.1f}",
        unit=_power(across.unit),
        gaps="".join(_GAP.format(left, right) for left, right in across.gaps()),
        columns="".join(_COLUMN.format(x, label) for x, label in across.ticks().items()),
        rows="".join(_ROW.format(y, label) for y, label in up.ticks().items()),
        # A line of no length is drawn as a dot, by its round ends.
        by_hand=_marks(drawn["by_hand"], across, up, "h.01"),
        autodiff=_marks(drawn["autodiff"], across, up, "m-3.5-3.5l7 7m0-7l-7 7"),
    )


def _worst(points: Sequence[_Point]) -> str:
    worst = max(points, key=lambda it: it.error)
    at = f"{worst.at:.3g}".replace("-", "−")
    return f"{_number(worst.error)} ULP ({worst.name} at {at})"


def _marks(points: Sequence[_Point], across: _Across, up: _Up, mark: str) -> str:
    """The path of a series, with one mark where several points coincide."""
    places = (f"M{across.place(it.at):.1f} {up.place(it.error):.1f}{mark}" for it in points)
    return "".join(dict.fromkeys(places))


_GAP = '<path class="gap" d="M{0:.1f} 34V244H{1:.1f}V34z"/>\n'
_COLUMN = '<path class="grid" d="M{0:.1f} 34V244"/><text x="{0:.1f}" y="261">{1}</text>\n'
_ROW = '<path class="grid" d="M56 {0:.1f}H380"/><text x="52" y="{0:.1f}" dy="4">{1}</text>\n'
_FIGURE = Template("""\
<figure><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 290" role="img"
 aria-labelledby="$id-title $id-told">
<title id="$id-title">$rule in $dtype: error against input</title><desc id="$id-told">$told</desc>
<path class="hand" d="M62 16h.01"/><text x="70" y="20">by hand</text>
<path class="auto" d="M135 12.5l7 7m0-7l-7 7"/><text x="147" y="20">autodiff</text>
<path class="limit" d="M216 16h26"/><text x="248" y="20">pass line, $tolerance ULP</text>
$gaps<g class="mid">$columns</g><g class="end">$rows</g>
<path class="limit" d="M56 ${limit}H380"/><text x="384" y="$limit" dy="4">$tolerance</text>
<path class="auto" d="$autodiff"/>
<path class="hand" d="$by_hand"/>
<text class="mid" x="218" y="282">input, linear within ±$unit, logarithmic beyond</text>
<text class="mid" transform="translate(9 139) rotate(-90)">error [ULP]</text>
</svg><figcaption><strong>$dtype.</strong> $told</figcaption></figure>
""")
_CODE = '<h3>Counterexample</h3>\n<pre tabindex="0"><code>'
_SECTION = Template("""\
<section id="rule-$i" aria-labelledby="name-$i">
<h2><span id="name-$i">$name</span> $badge</h2>
<p class="muted">$facts</p>
$reason$counterexample$checks$notes<div class="figures">
$figures</div>
<p class="up"><a href="#top">↑ all rules</a></p>
</section>
""")
_TABLE = Template("""\
<p class="muted">Errors are in units in the last place (ULP). A derivative passes within $tolerance;
larger errors are bold, a dash is for what was not measured.</p>
<div class="wide" role="region" aria-labelledby="worst" tabindex="0"><table>
<caption id="worst">Worst error [ULP]</caption>$groups
<thead><tr><th scope="col" rowspan="2">rule</th><th scope="col" rowspan="2">verdict</th>$dtypes</tr>
<tr>$pairs</tr></thead>
<tbody>$rows</tbody></table></div>
""")
_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'"/>
<title>$title</title>
<style>
$style</style></head>
<body id="top"><header><h1>$title</h1>
<p class="summary">$summary</p>
$environment$jumps</header>
<main>$table$sections</main></body></html>
""")
_STYLE = """\
:root { --paper: #fff; --ink: #1c2026; --muted: #59616d; --line: #d5dae1; --soft: #f0f2f6;
  --hand: #0b57a4; --auto: #b44d00; --pass: #17702f; --fail: #b3201b; --undecided: #76580a;
  --error: #87258f; }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; --paper: #14171c;
  --ink: #e6e9ee; --muted: #a0a8b4; --line: #3a414c; --soft: #22272f; --hand: #7cb8ff;
  --auto: #ff9f52; --pass: #5fce80; --fail: #ff8a80; --undecided: #e3c15b; --error: #e79cf0; } }
body { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere;
  background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, p, ul, pre, figure { margin: .4rem 0; padding: 0; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.25rem; line-height: 1.25; }
h3 { font-size: 1rem; margin: 1rem 0 .3rem; } a { color: var(--hand); }
.muted, dt, caption, figcaption { color: var(--muted); } .told { white-space: pre-wrap; }
dt, figcaption, .verdict { font-size: .85rem; } .notes { padding-left: 1.2rem; }
.environment, nav > div, nav ul, .checks li { display: flex; gap: .2rem 1.3rem; }
.environment, nav { margin: 1.2rem 0; } dd, nav ul { margin: 0; }
.environment, nav ul { flex-wrap: wrap; list-style: none; }
nav > div, .checks li { gap: .7rem; align-items: baseline; padding: .15rem 0; }
.checks, .figures { display: grid; gap: 0 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.verdict { flex: none; display: inline-block; padding: 0 .5em; border: 1px solid;
  border-radius: 1em; font-weight: 600; white-space: nowrap; }
.wide { overflow-x: auto; margin-bottom: 1.5rem; } caption { text-align: left; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); text-align: right;
  overflow-wrap: normal; }
[rowspan], tbody th, th + td { text-align: left; } [colspan] { text-align: center; }
thead th { vertical-align: bottom; white-space: nowrap; } .over { font-weight: 700; }
tbody th { font-weight: 400; min-width: 7rem; position: sticky; left: 0; background: var(--paper); }
section { border-top: 2px solid var(--line); margin-top: 2.5rem; padding-top: 1.2rem; }
pre { padding: .8rem; background: var(--soft); overflow-x: auto; font: .85rem/1.45 monospace; }
figure { max-width: 34rem; margin: .8rem 0; break-inside: avoid; }
svg { display: block; overflow: visible; font-size: 12.5px; fill: var(--ink); }
svg path { fill: none; } svg .gap { fill: var(--soft); }
.mid { text-anchor: middle; } .end { text-anchor: end; }
.grid { stroke: var(--line); stroke-width: .7; } .auto { stroke: var(--auto); stroke-width: 1.5; }
.limit { stroke: var(--ink); stroke-width: 1.3; stroke-dasharray: 5 4; }
.hand { stroke: var(--hand); stroke-width: 5; stroke-linecap: round; }
@media (max-width: 30rem) { th, td { padding: .3rem .25rem; font-size: .85rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .up { display: none; }
  .checks, .figures { grid-template-columns: 1fr 1fr; } pre { white-space: pre-wrap; }
  pre, tr, li { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""
