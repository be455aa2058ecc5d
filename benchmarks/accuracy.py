"""How accurate the rules are: the table of ``docs/accuracy.md``, rule × dtype × {by hand, JAX}.

    python -m benchmarks.accuracy                  # beside JAX on its CPU
    python -m benchmarks.accuracy --device gpu     # on a GPU: docs/accuracy-gpu.md

Elementwise rules are measured at thousands of numbers over the whole range of the dtype, each
result in units in its own last place (ULP). All others are examined by ``purenn.verify``, in ULP
of the terms that a result is the sum of.
"""

import argparse
import itertools
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_type_hints

import flint
import jax
import numpy as np
from flint import arb
from rich.progress import track

from purenn import verify
from purenn.typing import Array, OneOf
from purenn.verify import Rule, annotations, balls, draw, exact, judge, oracles, rivals
from purenn.verify.examples import Example

DOCS = Path(__file__).parent.parent / "docs"
TABLE = DOCS / "accuracy.md"
DTYPES = ("float32", "float64")

_PARTS = 8

Static = tuple[tuple[str, Any], ...]


class Errors(NamedTuple):
    """The worst errors, in ULP."""

    value: float
    pullback: float


class Row(NamedTuple):
    """A line of the table."""

    rule: str
    dtype: str
    by_hand: Errors
    jax: Errors
    verdict: str


def rows(rule: Rule, devices: Sequence[jax.Device] | None = None) -> list[Row]:
    """Measure a rule in both dtypes.

    Raises:
        DerivativeError: it is wrong.
    """
    device = (devices or jax.devices("cpu"))[0]
    swept = is_elementwise(rule)
    verdict = verify.check(rule, devices=devices, kept=None, examples=8 if swept else 30)
    if swept:
        return [_swept(rule, dtype, device) for dtype in DTYPES]
    found = []
    for dtype in verdict.worst_ulp:
        ours = Errors(_known(verdict.value_worst_ulp[dtype]), _known(verdict.worst_ulp[dtype]))
        theirs = Errors(
            _known(verdict.autodiff_value_worst_ulp[dtype]),
            _known(verdict.autodiff_worst_ulp[dtype]),
        )
        as_jax = any(note.startswith(f"{dtype}: not within") for note in verdict.notes)
        found.append(
            Row(rule.name, dtype, ours, theirs, "as autodiff" if as_jax else "in tolerance")
        )
    return found


def is_elementwise(rule: Rule) -> bool:
    """Whether all arguments and the value are numbers of one shape."""
    hints = get_type_hints(rule.f)
    dims = {getattr(hints[name], "dim_str", "") for name in _primals(rule)}
    return dims == {"*shape"} and getattr(hints["return"], "dim_str", "") == "*shape"


def variants(rule: Rule) -> list[Static]:
    """The settings of its keyword-only arguments that are measured."""
    if rule.cases:
        return list({repr(case): tuple(case.items()) for case in rule.cases}.values())
    options: list[list[tuple[str, Any]]] = []
    for name, hint in get_type_hints(rule.f, include_extras=True).items():
        for marker in getattr(hint, "__metadata__", ()):
            if isinstance(marker, OneOf):
                options.append([(name, value) for value in marker.values])
    return list(itertools.product(*options))


def inputs(rule: Rule, dtype: str, static: Static, seed: int = 0) -> list[Array]:
    """Ordinary, saturating, tiny and huge numbers, and numbers next to where a derivative is 0.

    Of several arguments the second is near the first half of the time.
    """
    signature = annotations.signature([rule.f_vjp], {}, rule.cases)
    rng = np.random.default_rng(seed)
    first = _numbers(rng, max(1, len(variants(rule))))
    if len(signature.positional) == 1:
        first = np.concatenate([first, *(_near(rng, root) for root in roots(rule, static))])
    found = [first]
    for _ in range(1, len(signature.positional)):
        near = first * (1 + rng.choice([-1, 1], len(first)) * 10 ** rng.uniform(-16, 1, len(first)))
        found.append(np.where(rng.random(len(first)) < 0.5, near, rng.permutation(first)))
    leaves = list(annotations.leaves(signature.positional.values()))
    kind = np.dtype(dtype)
    return [
        _inside(x, *draw.bounds(leaf, kind)).astype(kind)
        if leaf.floating
        else np.asarray(rng.integers(0, 2, x.shape))  # labels
        for x, leaf in zip(found, leaves, strict=True)
    ]


def _numbers(rng: np.random.Generator, share: int) -> Array:
    """Some 2,500, or that part of them."""
    few = 300 // share
    parts: list[Array] = [rng.normal(size=few) * scale for scale in (0.1, 1, 3, 12)]
    parts += [rng.uniform(-end, end, few) for end in (40, 110, 750)]
    parts += [rng.choice([-1, 1], few) * 10 ** rng.uniform(-30, 30, few)]
    parts += [np.array([0.0, 0.5, -0.5, 1, -1, 2, -2, 3, -3, 6, -6])]
    return np.concatenate(parts)


def _near(rng: np.random.Generator, root: float) -> Array:
    return np.append(root + rng.choice([-1, 1], 60) * 10 ** rng.uniform(-17, -0.5, 60), root)


def _inside(x: Array, low: float, high: float) -> Array:
    """The numbers moved into an interval."""
    if np.isfinite(low) and np.isfinite(high):
        part = np.minimum(np.abs(x), 1 / np.maximum(np.abs(x), 1e-300)) / 2
        x = np.where(x > 0, low + (high - low) * part, high - (high - low) * part)
    elif np.isfinite(low):
        x = low + np.abs(x)
    elif np.isfinite(high):
        x = high - np.abs(x)
    return np.clip(x, low, high)


def roots(rule: Rule, static: Static) -> list[float]:
    """Where the derivative of a function of one number changes its sign, by bisection."""

    def slope(x: Array) -> Array:
        _, pullback = rule.f_vjp(x, **dict(static))
        return np.asarray(pullback(np.ones_like(x))[0])

    grid = np.linspace(-8.03, 8.01, 803)
    signs = np.sign(slope(grid))
    crossing = signs[:-1] * signs[1:] < 0
    low, high, sign = grid[:-1][crossing], grid[1:][crossing], signs[:-1][crossing]
    for _ in range(60 if low.size else 0):
        middle = (low + high) / 2
        same = np.sign(slope(middle)) == sign
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return [float(root) for root in low]


def sweep(
    rule: Rule, dtype: str, static: Static, device: jax.Device, seed: int = 0
) -> tuple[Errors, Errors]:
    """The worst errors of an elementwise rule, and those of JAX."""
    xs = inputs(rule, dtype, static, seed)
    dy = np.asarray(np.random.default_rng(seed + 1).normal(size=xs[0].shape), dtype)
    names = tuple(_primals(rule))
    example = Example(names, tuple(xs), static, (dy,), dtype)
    assert rule.reference is not None
    function = example.structure.flat(rule.reference)
    moving = [i for i, x in enumerate(xs) if x.dtype == dtype]
    value, *slopes = _truth(function, xs, moving, is_random="key" in dict(static))
    with flint.ctx.workprec(256):
        cotangents = [balls.from_floats(dy) * slope for slope in slopes]
    with np.errstate(over="ignore", under="ignore"):
        y, pullback = rule.f_vjp(*xs, **dict(static))
        dxs = pullback(dy)
        ours = Errors(_worst([y], [value]), _worst([dxs[i] for i in moving], cotangents))
    answer = rivals.autodiff(oracles.Oracle(rule.reference, "exact"), example, device)
    their_dxs = [dx for dx in answer.cotangents if dx is not None]
    theirs = Errors(_worst(answer.value, [value]), _worst(their_dxs, cotangents))
    return ours, theirs


def _truth(
    function: Callable[..., Any], xs: Sequence[Array], moving: Sequence[int], is_random: bool
) -> balls.Balls:
    """The value and its derivatives by the arguments ``moving``, number by number.

    How many bits it takes is a matter of size, and all at once take as many as the one that takes
    most: so those of one size are by themselves, unless it is by its place what a number becomes.
    """
    order = np.argsort(np.max(np.abs(xs), axis=0), kind="stable")
    found = np.empty((1 + len(moving), order.size), object)
    for part in [slice(None)] if is_random else np.array_split(order, _PARTS):
        few = [x[part] for x in xs]
        wide = [x.astype(np.float64) if i in moving else x for i, x in enumerate(few)]
        each: list[Array | None] = [None] * len(xs)
        for row, i in enumerate(moving):
            tangent = np.zeros((len(moving), few[i].size))
            tangent[row] = 1
            each[i] = tangent
        (truth,) = exact.evaluate(jax.make_jaxpr(function)(*wide), few, each)
        found[0, part] = truth.value
        found[1:, part] = arb(0) if truth.tangents is None else truth.tangents
    return found


def _swept(rule: Rule, dtype: str, device: jax.Device) -> Row:
    found = [sweep(rule, dtype, static, device) for static in variants(rule)]
    ours, theirs = (
        Errors(*(max(every) for every in zip(*of_one, strict=True)))
        for of_one in zip(*found, strict=True)
    )
    return Row(rule.name, dtype, ours, theirs, "8 ULP" if max(ours) <= 8 else "in tolerance")


def _worst(answers: Sequence[Array | None], truths: Sequence[balls.Balls]) -> float:
    """Over the results that are normal numbers."""
    worst = 0.0
    for x, truth in zip(answers, truths, strict=True):
        assert x is not None
        size = np.abs(balls.nearest(truth))
        normal = (size >= np.finfo(x.dtype).tiny) & (size <= np.finfo(x.dtype).max)
        errors = judge.errors(x, truth, size)[normal]
        worst = max(worst, float(np.max(errors, initial=0.0)))
    return worst


def _primals(rule: Rule) -> list[str]:
    return list(annotations.signature([rule.f_vjp], {}, rule.cases).positional)


def _known(number: float | None) -> float:
    return float("nan") if number is None else number


_HEAD = """# How accurate the rules are

`{command}` measures and writes this table.
Its columns of JAX are those of JAX {jax} on {device}; other versions differ.

Worst errors, in ULP. *8 ULP*: an elementwise rule; each of thousands of results, from 1e-30 to
1e+30, through saturation and next to where the derivative vanishes, is within 8 units in its own
last place, and no further from the truth than JAX, or 2 ULP. *in tolerance*: each result that
`purenn verify` asked for is within 8 units in the last place of the terms that it is the sum of,
and of what rounding of the inputs alone does to it. *as autodiff*: not that, but no worse than
JAX's autodiff in the same dtype: float64 exponentials of sums that are themselves rounded.

| rule | dtype | value, by hand | value, JAX | pullback, by hand | autodiff | verdict |
|---|---|---:|---:|---:|---:|---|
"""


def table(rows: Sequence[Row], choice: str = "cpu", device: str = "a CPU") -> str:
    """The page."""
    lines = [
        f"| {row.rule} | {row.dtype} | {_told(row.by_hand.value)} | {_told(row.jax.value)} "
        f"| {_told(row.by_hand.pullback)} | {_told(row.jax.pullback)} | {row.verdict} |\n"
        for row in rows
    ]
    command = "python3 -m nox -s accuracy" + (f" -- --device {choice}" if choice != "cpu" else "")
    return _HEAD.format(command=command, jax=jax.__version__, device=device) + "".join(lines)


def committed() -> dict[tuple[str, str], str]:
    """The verdicts in the table, by rule and dtype."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in TABLE.read_text().splitlines()
        if line.startswith("|")
    ]
    return {(rule, dtype): verdict for rule, dtype, *_, verdict in cells[2:]}


def _told(number: float) -> str:
    return "–" if np.isnan(number) else f"{number:.2f}" if number < 1000 else f"{number:.1e}"


def _rules() -> list[Rule]:
    return verify.discover("purenn.ops", against="reference.ops")


def _measured(choice: Literal["cpu", "gpu"], place: int) -> list[Row]:
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        return rows(_rules()[place], verify.devices(choice))


def main() -> None:
    """Measure every rule and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    choice = parser.parse_args().device
    # Several processes share a GPU, of which the first would else take most of the memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    count = len(_rules())
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        each = pool.map(partial(_measured, choice), range(count))
        found = [row for rows in track(each, "measuring", count) for row in rows]
    device = "a CPU" if choice == "cpu" else f"an {verify.devices(choice)[0].device_kind}"
    path = TABLE if choice == "cpu" else DOCS / f"accuracy-{choice}.md"
    path.write_text(table(found, choice, device))
    print(f"{count} rules measured, the table is in {path}")


if __name__ == "__main__":
    main()
