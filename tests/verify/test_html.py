import copy
import html
import math
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from purenn.verify.html import page
from purenn.verify.judge import TOLERANCE

Element = ElementTree.Element
SVG = "{http://www.w3.org/2000/svg}"
EXTREMES = [-1e30, -100.0, -1.0, 0.0, 1.0, 100.0, 1e30]
CODE = 'x = np.array([[1e-30, "<&>\\n"]])\n\n    if x < 1 and x > "é":\n        print(\'$x\')'
HOSTILE = (
    "</title><script>alert('x')</script><!-- \"><img src=x onerror=alert(1)> &amp; $title ${i}"
)


def rule(name: str = "softmax", verdict: str = "pass", **more: Any) -> dict[str, Any]:
    return {
        "rule": name,
        "convention": "vjp",
        "against": "float64 (no exact rule)",
        "verdict": verdict,
        "reason": "dx[0]: got 1.0\nexpected 2.0",
        "notes": ["as JAX at kinks"],
        "checks": [{"check": "cotangent dx", "verdict": "fail", "reason": "off", "note": "noted"}],
        "worst_ulp": {"float32": 0.49, "float64": None},
        "autodiff_worst_ulp": {"float32": 1.6e7, "float64": math.nan},
        "counterexample": CODE,
        "points": {"float32": [points(EXTREMES, [0.1] * 7)], "float64": []},
    } | more


def points(at: list[Any], by_hand: list[Any], autodiff: list[Any] | None = None) -> dict[str, Any]:
    return {"name": "dx", "at": at, "by_hand": by_hand, "autodiff": autodiff or by_hand}


def report(*rules: dict[str, Any]) -> dict[str, Any]:
    environment = {"target": "my_rules.py", "devices": ["cpu", "gpu"], "seed": 0, "more": None}
    return {"environment": environment, "rules": list(rules)}


def plotted(*entries: dict[str, Any]) -> dict[str, Any]:
    return report(rule(points={"float32": list(entries)}))


def parsed(it: dict[str, Any]) -> Element:
    return ElementTree.fromstring(page(it))


def text(element: Element) -> str:
    return "".join(element.itertext())


def path(plot: Element, kind: str) -> str:
    """What is drawn last in this class: in the legend comes before."""
    return plot.findall(f".//{SVG}path[@class='{kind}']")[-1].attrib["d"]


def marks(root: Element, kind: str) -> list[tuple[float, float]]:
    d = path(root, kind)
    found = [(float(x), float(y)) for x, y in re.findall(r"M(-?[\d.]+) (-?[\d.]+)", d)]
    assert len(found) == d.count("M")
    return found


def box(root: Element) -> tuple[float, float, float, float]:
    """The corners that the grid reaches to: left, right, top, bottom."""
    grid = " ".join(it.attrib["d"] for it in root.iter(f"{SVG}path") if it.get("class") == "grid")
    left, right = re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", grid)[0]
    top, bottom = re.findall(r"M[\d.]+ ([\d.]+)V([\d.]+)", grid)[0]
    return float(left), float(right), float(top), float(bottom)


def ticks(root: Element, kind: str) -> dict[str, float]:
    found = root.findall(f".//{SVG}g[@class='{kind}']/{SVG}text")
    return {text(it): float(it.attrib["x" if kind == "mid" else "y"]) for it in found}


class Balance(HTMLParser):
    """Whether every element that a browser opens is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "it",
    [
        {},
        report(),
        report({"rule": "bare", "verdict": "error"}),
        report(rule(), rule("relu", points=None, checks=None, notes=None, reason=None)),
        report(rule(HOSTILE, reason=HOSTILE)),
        plotted(points(EXTREMES, [math.inf] * 7, [math.nan] * 7)),
        plotted(points([], []), points([math.nan], [1.0]), points([1.0], [None])),
    ],
)
def test_the_page_is_well_formed_whatever_is_missing(it: dict[str, Any]) -> None:
    assert parsed(it).find("body") is not None
    balance = Balance()
    balance.feed(page(it))
    assert balance.open == []


def strings(it: Any, text: str) -> Any:
    """The same report with every string replaced but the verdicts."""
    if isinstance(it, dict):
        return {k: v if k == "verdict" else strings(v, text) for k, v in it.items()}
    if isinstance(it, list):
        return [strings(value, text) for value in it]
    return text if isinstance(it, str) else it


def test_what_the_report_says_is_text_and_nothing_else() -> None:
    def told(text: str) -> Element:
        plot = {text: [points([1.0], [1.0])]}
        them = report(rule(worst_ulp={text: 1.0}, autodiff_worst_ulp={text: 1.0}, points=plot))
        them["environment"][text] = "value"
        return parsed(strings(them, text))

    plain, hostile = told("plain"), told(HOSTILE)
    assert [(it.tag, sorted(it.attrib)) for it in hostile.iter()] == [
        (it.tag, sorted(it.attrib)) for it in plain.iter()
    ]
    for said, expected in zip(hostile.itertext(), plain.itertext(), strict=True):
        assert said == expected.replace("plain", HOSTILE)
    assert text(hostile).count(HOSTILE) > 12


def test_a_verdict_nobody_knows_is_shown_and_escaped() -> None:
    root = parsed(report(rule(verdict=HOSTILE)))
    assert HOSTILE in text(root.findall(".//td")[0])
    assert root.find(".//script") is None


def test_what_no_file_can_hold_is_replaced() -> None:
    found = page(report(rule("a\x00b\x1b[31m\ud800c")))
    assert "a�b�[31m�c" in found
    found.encode()


@pytest.mark.parametrize("verdict", ["pass", "fail", "undecided", "error"])
def test_a_verdict_is_a_word_and_a_mark(verdict: str) -> None:
    root = parsed(report(rule(verdict=verdict, checks=[])))
    for place in (".//nav", ".//td", ".//h2"):
        shown = text(root.findall(place)[0].findall(".//span[@class='verdict']")[0])
        assert re.fullmatch(rf"\S {verdict}", shown)


def test_the_worst_verdicts_come_first_in_the_links_and_each_leads_to_its_section() -> None:
    verdicts = ["pass", "undecided", "fail", "error", "pass"]
    root = parsed(report(*(rule(f"r{i}_{it}", it) for i, it in enumerate(verdicts))))
    links = root.findall(".//nav//a")
    assert [text(a) for a in links] == ["r2_fail", "r3_error", "r1_undecided", "r0_pass", "r4_pass"]
    ids = [it.attrib["id"] for it in root.iter() if "id" in it.attrib]
    assert len(ids) == len(set(ids))
    sections = {it.attrib["id"]: it for it in root.iter("section")}
    for a in [*links, *root.findall(".//tbody//a")]:
        assert text(a) in text(sections[a.attrib["href"][1:]].findall("h2")[0])
    told = "5 rules examined: 2 pass, 1 fail, 1 undecided, 1 error."
    assert text(root.findall(".//header/p")[0]) == told


def test_the_environment_is_listed() -> None:
    root = parsed(report())
    terms = [
        (text(it.findall("dt")[0]), text(it.findall("dd")[0])) for it in root.iterfind(".//dl/div")
    ]
    assert terms == [
        ("target", "my_rules.py"),
        ("devices", "cpu, gpu"),
        ("seed", "0"),
        ("more", "–"),
    ]
    assert text(root.findall(".//h1")[0]) == "purenn verify: my_rules.py"
    assert "0 rules examined" in text(root.findall("body")[0])
    assert root.find(".//table") is None


@pytest.mark.parametrize(
    ("ulps", "shown"),
    [
        (0.487, "0.49"),
        (1.6e7, "1.6e+07"),
        (math.inf, "∞"),
        (0, "0.00"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_numbers_are_compact(ulps: Any, shown: str) -> None:
    root = parsed(report(rule(worst_ulp={"float32": ulps}, autodiff_worst_ulp={"bfloat16": 8.5})))
    cells = root.findall(".//td")[1:]
    assert [text(it) for it in cells] == [shown, "–", "–", "8.50"]
    assert [it.get("class") == "over" for it in cells] == [(ulps or 0) > 8, False, False, True]


def test_headers_say_what_they_head() -> None:
    root = parsed(report(rule(), rule("relu")))
    assert {it.get("scope") for it in root.iter("th")} == {"row", "col", "colgroup"}
    assert [text(it) for it in root.findall(".//th[@scope='row']")] == ["softmax", "relu"]
    assert text(root.findall(".//caption")[0])
    plot = root.findall(f".//{SVG}svg")[0]
    said = {it.get("id"): text(it) for it in plot if it.get("id")}
    assert list(said) == plot.attrib["aria-labelledby"].split()
    assert "softmax in float32" in "".join(said.values())
    assert "0.10 ULP (dx at −1e+30)" in "".join(said.values())


def test_nothing_is_fetched_and_nothing_runs() -> None:
    found = page(report(rule()))
    assert set(re.findall(r"\w+://[^\"' ]+", found)) == {SVG[1:-1]}
    assert not re.search(r"url\(|@import|src=|<script|<link|<iframe|javascript:|\son\w+=", found)
    assert all(it.startswith("#") for it in re.findall(r'href="([^"]*)"', found))


def test_the_counterexample_is_verbatim() -> None:
    found = page(report(rule()))
    assert html.unescape(found.split("<pre")[1].split("<code>")[1].split("</code>")[0]) == CODE
    assert "Counterexample" not in page(report(rule(counterexample="")))


def test_reason_notes_and_checks_are_told() -> None:
    section = parsed(report(rule())).findall(".//section")[0]
    assert text(section.findall("p[@class='told']")[0]) == "dx[0]: got 1.0\nexpected 2.0"
    assert [text(li) for li in section.findall("ul[@class='notes']/li")] == ["as JAX at kinks"]
    check = text(section.findall("ul[@class='checks']/li")[0])
    assert all(it in check for it in ("fail", "cotangent dx", "noted", "off"))
    assert "vjp" in text(section)
    assert "float64 (no exact rule)" in text(section)


RANGES = [
    EXTREMES,
    [0.0],
    [1.0],
    [-3e-40, 5e-324],
    [0.0, 5e-324],
    [0.25, 0.5, 1.0],
    [-1.7e308, 1.7e308, 5e-324, math.inf, -math.inf],
    [-7.0, -200.0, -5e4],
    [sign * 2.0**k for k in range(-100, 100, 3) for sign in (-1, 1)],
]


@pytest.mark.parametrize("at", RANGES)
@pytest.mark.parametrize("error", [0.0, 5e-324, 8.0, 1e7, 1.7e308, math.inf, -1.0])
def test_every_point_is_inside_the_box(at: list[float], error: float) -> None:
    root = parsed(plotted(points(at, [error] * len(at), [1.0] * len(at))))
    left, right, top, bottom = box(root)
    for kind in ("hand", "auto"):
        assert marks(root, kind)
        for x, y in marks(root, kind):
            assert left <= x <= right
            assert top <= y <= bottom


@pytest.mark.parametrize("at", RANGES)
def test_the_axis_keeps_the_order_and_labels_do_not_touch(at: list[float]) -> None:
    at = sorted(at)
    root = parsed(plotted(points(at, [1.0] * len(at), [10.0**i for i in range(len(at))])))
    places = [x for x, _ in marks(root, "hand")]
    assert places == sorted(places)
    labels = sorted(ticks(root, "mid").items(), key=lambda it: it[1])
    assert len(labels) >= 2
    for (one, x), (other, y) in pairwise(labels):
        assert y - x > 3.5 * len(one + other)


def test_a_tick_is_where_its_number_is() -> None:
    at = [*EXTREMES, 3.0, -30.0, 0.5]
    errors = [0.0, 1e-9, 0.01, 1.0, 1e2, 1e4, 1e8, math.inf, 8.0, TOLERANCE]
    root = parsed(plotted(points(at, errors)))
    columns, rows = ticks(root, "mid"), ticks(root, "end")
    assert {"−1e30", "−100", "−1", "0", "1", "100", "1e30"} <= set(columns)
    xs = {x for x, _ in marks(root, "hand")}
    assert {columns[it] for it in ("−1e30", "−100", "−1", "0", "1", "100", "1e30")} <= xs
    ys = {y for _, y in marks(root, "hand")}
    assert {rows[it] for it in ("≤0.01", "1", "100", "1e4", "1e8", "∞")} <= ys
    assert rows["∞"] < rows["1e8"] < rows["1e4"] < rows["100"] < rows["1"] < rows["≤0.01"]
    assert float(re.findall(r"M[\d.]+ ([\d.]+)H", path(root, "limit"))[0]) in ys


def test_a_power_of_ten_in_float32_needs_no_further_decade() -> None:
    labels = ticks(parsed(plotted(points([0.0, 1.0000000150474662e30], [1.0] * 2))), "mid")
    assert set(labels) == {"0", "1", "1e30"}


def test_infinity_has_a_tick_only_where_an_error_is_infinite() -> None:
    assert "∞" not in ticks(parsed(plotted(points([1.0], [1e30]))), "end")
    assert "∞" in ticks(parsed(plotted(points([1.0], [1.0], [math.inf]))), "end")


def test_decades_without_an_input_are_shaded_and_the_caption_says_so() -> None:
    root = parsed(plotted(points([-5.0, 5.0, 1e30], [1.0] * 3)))
    gaps = root.findall(f".//{SVG}path[@class='gap']")
    left, right = map(float, re.findall(r"M([\d.]+) \d+V\d+H([\d.]+)", gaps[0].attrib["d"])[0])
    assert len(gaps) == 1
    assert [left, right] == [ticks(root, "mid")[it] for it in ("10", "1e30")]
    assert "Shaded" in text(root.findall(".//figcaption")[0])
    assert "Shaded" not in page(plotted(points([-5.0, 5.0], [1.0] * 2)))


def test_the_two_series_differ_in_shape_and_are_both_in_the_legend() -> None:
    at = [1.0, 2.0, math.nan, None]
    root = parsed(plotted(points(at, [0.1, 0.2, 0.3, 0.4], [10.0, math.nan, 0.3, None])))
    assert len(marks(root, "hand")) == 2
    assert len(marks(root, "auto")) == 1
    shapes = [re.sub(r"M[\d.]+ [\d.]+", "", path(root, kind))[:4] for kind in ("hand", "auto")]
    assert shapes[0] != shapes[1]
    legend = [text(it) for it in root.iter(f"{SVG}text")]
    assert {"by hand", "autodiff", f"pass line, {TOLERANCE:g} ULP"} <= set(legend)


def test_many_points_are_thinned_and_the_worst_kept() -> None:
    at = [i / 7 for i in range(5000)]
    by_hand = [0.3 + (i % 97) / 1000 for i in range(5000)]
    by_hand[4321] = 77.0
    root = parsed(plotted(points(at, by_hand, [0.1] * 5000)))
    drawn = marks(root, "hand")
    assert 500 < len(drawn) <= 1500
    everything = parsed(plotted(points(at[4321:4322], [77.0])))
    assert min(y for _, y in drawn) == marks(everything, "hand")[0][1]
    caption = text(root.findall(".//figcaption")[0])
    assert "by hand: 77.00 ULP (dx at 617)" in caption
    assert 2000 < int(re.findall(r"(\d+) of 10000 points are drawn", caption)[0]) <= 3000
    assert "points are drawn" not in page(plotted(points(at[:1500], by_hand[:1500])))


def test_every_dtype_has_a_plot_and_a_rule_without_points_has_none() -> None:
    both = rule(points={t: [points([1.0], [1.0])] for t in ("float32", "float64")})
    bare = copy.deepcopy(both)
    del bare["points"]
    sections = parsed(report(both, bare, rule(points={}))).findall(".//section")
    assert [len(it.findall(f".//{SVG}svg")) for it in sections] == [2, 0, 0]


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_marks_stand_out_from_the_paper(scheme: int) -> None:
    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    blocks = re.findall(r":root \{([^}]*)\}", page(report()))
    colours = dict(re.findall(r"--(\w+): (#\w+);", blocks[scheme]))
    assert set(colours) >= {"ink", "muted", "hand", "auto", "pass", "fail", "undecided", "error"}
    for name in set(colours) - {"paper", "line", "soft"}:
        low, high = sorted(luminance(colours[it]) for it in (name, "paper"))
        assert (high + 0.05) / (low + 0.05) >= 4.5, name
