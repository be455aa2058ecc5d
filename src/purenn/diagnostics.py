"""What to look at while a network trains, as pure functions of trees.

    (loss, _), grads = objective.value_and_grad(params, state, batch, key)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    tree.norm(grads)                                # the global norm, one number per step
    print(table(statistics(grads)))                 # a row per leaf
    print(table(update_ratios(updates, params)))    # healthy: about 1e-3
    print(table(tree.map(np.mean, dead_units(grads))))
    gradient_flow(grads).vanishing, nonfinite(grads)

Gradients are to be those of an objective without regularizer: that of a penalty is never 0, and
hides what the examples do. Wherever a leaf is no array of a floating dtype, a DtypeError has its
path. Everything is computed in float64; NaN and ∞ go through without a warning.
"""

import math
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from purenn import tree
from purenn.contract import check_number
from purenn.errors import DomainError, DtypeError
from purenn.tree import Path, Tree
from purenn.typing import Array


class Statistics(NamedTuple):
    """The entries of one leaf in numbers.

    Of an empty leaf ``norm`` and ``nonfinite`` are 0 and the others, which nothing has not, NaN.

    Attributes:
        norm: √Σx².
        rms: √mean(x²), which does not grow with the size of the leaf.
        mean: The mean.
        std: The standard deviation √mean((x − mean)²).
        min: The least entry.
        max: The greatest entry.
        zeros: The fraction of entries that are exactly 0.
        nonfinite: How many entries are NaN or ±∞.
    """

    norm: float
    rms: float
    mean: float
    std: float
    min: float
    max: float
    zeros: float
    nonfinite: int


class Nonfinite(NamedTuple):
    """A leaf that has entries which are NaN or ±∞.

    Attributes:
        path: The steps that lead to the leaf; :func:`purenn.tree.show` writes them as code.
        first: The index of the first of them.
        value: Its value.
        total: How many there are.
    """

    path: Path
    first: tuple[int, ...]
    value: float
    total: int


class GradientFlow(NamedTuple):
    """How much of the gradient reaches each layer.

    Attributes:
        rms: √mean(g²) over all parameters of a layer, by its path, in the order of the tree.
        vanishing: The layers that get next to nothing of what the last one gets.
        exploding: The layers that get many times as much.
    """

    rms: dict[Path, float]
    vanishing: list[Path]
    exploding: list[Path]


def statistics(values: Tree) -> Tree:
    """Put :class:`Statistics` in the place of each leaf of parameters, gradients or activations.

    ``statistics(grads)["hidden"]["kernel"].rms`` is one of them; :func:`table` shows all. They are
    right at any magnitude of the entries: sums are of entries divided by a power of two.
    """
    found: Tree = tree.map_with_path(_describe, _checked("statistics", "values", values))
    return found


@np.errstate(all="ignore")
def _describe(path: Path, leaf: Array) -> Statistics:
    if not leaf.size:
        nothing = math.nan
        return Statistics(0.0, nothing, nothing, nothing, nothing, nothing, nothing, 0)
    x = leaf.astype(np.float64)
    low, high = float(x.min()), float(x.max())
    exponent = math.frexp(max(abs(low), abs(high)))[1]
    scaled = np.asarray(np.ldexp(x, -exponent))
    norm = tree.norm(scaled)
    sums = [norm, norm / math.sqrt(x.size), scaled.mean(), scaled.std()]
    norm, rms, mean, std = (float(np.ldexp(number, exponent)) for number in sums)
    return Statistics(
        norm=norm,
        rms=rms,
        mean=mean,
        std=std,
        min=low,
        max=high,
        zeros=float(np.mean(x == 0)),
        nonfinite=int(np.count_nonzero(~np.isfinite(x))),
    )


def update_ratios(updates: Tree, params: Tree) -> Tree:
    """‖update‖/‖parameter‖ of each leaf: how fast it moves, by its own measure.

    About 1e-3 is healthy for weights: far more tears them apart, far less leaves them where they
    are (Stanford's cs231n, *Babysitting the learning process*). Where nothing moves it is 0, where
    a parameter leaves 0 it is ∞.

    Args:
        updates: What an optimizer adds to the parameters.
        params: The parameters before that.

    Raises:
        TreeError, ShapeError, DtypeError: the trees do not fit; the message names the path.
    """
    tree.check_like("update_ratios: updates", updates, _checked("update_ratios", "params", params))
    found: Tree = tree.map(lambda u, p: _ratio(tree.norm(u), tree.norm(p)), updates, params)
    return found


def _ratio(a: float, b: float) -> float:
    """a/b for a, b ≥ 0, where 0/0 is 0; NaN where b is not finite and so no measure."""
    if not math.isfinite(b):
        return math.nan
    if b == 0:
        return a * math.inf if a else 0.0
    return a / b


def gradient_flow(grads: Tree, threshold: float | int = 1e-3) -> GradientFlow:
    """Find the layers in which gradients vanish or explode on their way back.

    A layer is what holds leaves: ``["hidden"]`` has ``["hidden"]["kernel"]`` and its bias. Its
    gradient's root mean square r is compared with that of the last layer, where the way begins:
    r/r_last < threshold is vanishing, r/r_last > 1/threshold exploding. Why the default: while the
    last layer moves by a healthy 1e-3 of itself in a step, one with a thousandth of its gradient
    takes a million steps to become another. Sigmoids, whose slope is at most 1/4, get there in
    five layers. Where activations grow on their way as gradients do on theirs, as behind ReLUs,
    all layers explode alike, and only the size of ``rms`` shows it. Where there is no gradient at
    all, every layer's vanishes. What is NaN, or beside a last layer that is not finite, is not
    flagged: :func:`nonfinite` finds it.

    Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen* (1991). Glorot & Bengio,
    *Understanding the difficulty of training deep feedforward neural networks*, AISTATS 2010.

    Args:
        grads: Gradients in the order of the layers, which ``serial`` keeps and ``jax.tree.map``
            does not: it sorts the names.
        threshold: What is next to nothing, > 0 and < 1.

    Raises:
        DomainError: ``threshold`` is out of its domain.
        DtypeError: it is no number, or a leaf no array of a floating dtype.
    """
    threshold = check_number("gradient_flow", "threshold", threshold, gt=0, lt=1)
    layers: dict[Path, list[Array]] = {}

    def collect(path: Path, leaf: Array) -> None:
        if leaf.size:
            layers.setdefault(path[:-1], []).append(leaf)

    tree.map_with_path(collect, _checked("gradient_flow", "grads", grads))
    rms = {
        path: tree.norm(leaves) / math.sqrt(sum(leaf.size for leaf in leaves))
        for path, leaves in layers.items()
    }
    last = next(reversed(rms.values()), 0.0)
    ratios = {path: _ratio(its, last) for path, its in rms.items()}
    return GradientFlow(
        rms,
        [path for path, ratio in ratios.items() if ratio < threshold],
        [path for path, ratio in ratios.items() if ratio > 1 / threshold],
    )


def dead_units(values: Tree) -> Tree:
    """Find the units of which each entry is exactly 0: a bool per unit in the place of each leaf.

    ===========  =================================================================================
    gradients    no example of the batch teaches the unit, as a ReLU that is off for all of them
    weights      nothing comes in
    activations  the unit is off for each example
    ===========  =================================================================================

    The last axis is that of the units: of a ``kernel``, a ``bias``, a ``scale`` and of activations.
    Of an ``embedding`` it is the first: a row without gradient is a token that did not occur. A
    leaf without axes is one unit; a unit without entries is dead. What is dead in one batch may
    live in another, and is dead in both where ``tree.map(np.logical_and, dead, dead_too)`` says so.

    Lu, Shin, Su & Karniadakis, *Dying ReLU and initialization: theory and numerical examples*,
    arXiv:1903.06733.
    """

    def find(path: Path, leaf: Array) -> Array:
        return np.asarray(np.all(leaf == 0, axis=_within_units(path, leaf)))

    found: Tree = tree.map_with_path(find, _checked("dead_units", "values", values))
    return found


def saturation(
    activations: Tree, low: float | int | None = None, high: float | int | None = None
) -> Tree:
    """Give the fraction of examples for which each unit is at one of its ends: y ≤ low or y ≥ high.

    There its slope is next to 0. ReLU: ``low=0``; a fraction of 1 is a dead unit. tanh: ``low=-.99,
    high=.99``; sigmoid: ``low=.01, high=.99``. The axes are those of :func:`dead_units`; without
    examples the fraction is NaN.

    Args:
        activations: Arrays (..., units), or a tree of them.
        low: The lower end, finite; ``None`` where there is none.
        high: The upper end, finite and > ``low``; ``None`` where there is none.

    Raises:
        DomainError: there is no end, or ``high`` is not above ``low``.
        DtypeError: an end is no number, or a leaf no array of a floating dtype.
    """
    if low is None and high is None:
        raise DomainError("saturation: low and high are None, expected a number for one of them")
    bottom = math.nan if low is None else check_number("saturation", "low", low)
    top = math.nan if high is None else check_number("saturation", "high", high, gt=low)

    @np.errstate(all="ignore")
    def fraction(path: Path, leaf: Array) -> Array:
        y, within = leaf.astype(np.float64), _within_units(path, leaf)
        at_end = np.sum((y <= bottom) | (y >= top), axis=within)
        return np.asarray(at_end / np.float64(math.prod(leaf.shape[axis] for axis in within)))

    found: Tree = tree.map_with_path(fraction, _checked("saturation", "activations", activations))
    return found


def _within_units(path: Path, leaf: Array) -> tuple[int, ...]:
    """The axes that lie within a unit."""
    units = 0 if path[-1:] == ("embedding",) else leaf.ndim - 1
    return tuple(axis for axis in range(leaf.ndim) if axis != units)


def nonfinite(values: Tree) -> list[Nonfinite]:
    """List the leaves that have entries which are NaN or ±∞: none, and so false, if all is well."""
    found = []
    for path, leaf in tree.leaves_with_paths(_checked("nonfinite", "values", values)):
        wrong = ~np.isfinite(leaf)
        if wrong.any():
            first = tuple(int(i) for i in np.unravel_index(wrong.argmax(), leaf.shape))
            total = int(np.count_nonzero(wrong))
            found.append(Nonfinite(path, first, float(leaf[first]), total))
    return found


def table(numbers: Tree) -> str:
    """Write a tree of numbers as text: the last step of a path is the column, the others the row.

    So :func:`statistics` has a row per leaf, :func:`update_ratios` one per layer.

    Raises:
        DtypeError: a leaf is no number; the message has its path.
    """
    rows: dict[str, dict[str, str]] = {}

    def place(path: Path, number: Any) -> None:
        if isinstance(number, np.generic) and number.dtype.name == "bfloat16":
            number = float(number)  # its scalars are no np.floating
        if not isinstance(number, Real | np.floating):
            raise DtypeError(
                f"table: numbers{tree.show(path)} is a {type(number).__name__}, expected a number "
                "(tree.map(numpy.mean, numbers), say)"
            )
        text = str(number) if isinstance(number, Integral) else f"{number:.3g}"
        rows.setdefault(tree.show(path[:-1]), {})["".join(map(str, path[-1:]))] = text

    tree.map_with_path(place, numbers)
    columns = [*dict.fromkeys(column for row in rows.values() for column in row)]
    lines = [
        ["", *columns],
        *([name, *(row.get(c, "") for c in columns)] for name, row in rows.items()),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]).rstrip()
        for name, *cells in lines
    )


def _checked(name: str, argument: str, values: Tree) -> Tree:
    tree.check_floats(name, argument, values)
    return values
