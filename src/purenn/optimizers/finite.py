"""Gradients that are not finite: skipped, replaced or refused. Otherwise they pass through."""

import math
from typing import Any, NamedTuple

import numpy as np

from purenn import tree
from purenn.contract import check_integer
from purenn.errors import DomainError
from purenn.optimizers._common import check_state, counted, steps, zero
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import (
    GradientTransformation,
    advance,
    check_transformation,
    stateless,
    swept,
)
from purenn.optimizers.masking import set_to_zero
from purenn.tree import Path, Tree
from purenn.typing import Array


class ApplyIfFiniteState(NamedTuple):
    """What was not finite, and the state of the inner transformation.

    Attributes:
        notfinite_count: Updates in a row that were not, int32.
        last_finite: Whether the last one was, bool.
        total_notfinite: All updates that were not, int32.
        inner_state: That of the inner transformation.
    """

    notfinite_count: Array
    last_finite: Array
    total_notfinite: Array
    inner_state: Any


class ZeroNansState(NamedTuple):
    """Whether the last update had a NaN, a bool per leaf."""

    found_nan: Tree


def apply_if_finite(
    inner: GradientTransformation, max_consecutive_errors: int
) -> GradientTransformation:
    """Skip an update that is not finite: the step is 0, and the inner state stays.

    After too many of them in a row the next is let through, as is every further one until they are
    finite again.

    Args:
        inner: What is done to updates that are finite.
        max_consecutive_errors: How many are skipped in a row, ≥ 0.

    Raises:
        DtypeError: ``inner`` is no transformation or ``max_consecutive_errors`` no int.
        DomainError: ``max_consecutive_errors`` is negative.
    """
    name = "apply_if_finite"
    check_transformation(name, "inner", inner)
    most = check_integer(name, "max_consecutive_errors", max_consecutive_errors, least=0)
    nothing = set_to_zero()

    def init(params: Tree) -> ApplyIfFiniteState:
        return ApplyIfFiniteState(zero(), np.array(True), zero(), inner.init(params))

    def sweep(run: Sweep, state: ApplyIfFiniteState) -> ApplyIfFiniteState:
        check_state(name, state, ApplyIfFiniteState)
        total = steps(name, state.total_notfinite, "total_notfinite")
        streak = steps(name, state.notfinite_count, "notfinite_count") + 1
        is_finite = all(_is_finite(u) for u in run.values())
        if is_finite:
            streak = 0
        inner_state = state.inner_state
        if streak > most or is_finite:
            inner_state = advance(inner, run, inner_state)
        else:
            advance(nothing, run, nothing.init(None))
        return ApplyIfFiniteState(
            counted(streak), np.array(is_finite), counted(total + (not is_finite)), inner_state
        )

    return swept(init, sweep, type(inner))


def zero_nans() -> GradientTransformation:
    """Put 0 in the place of NaN; ±∞ stays.

    ``init`` raises DtypeError, naming the path, where a parameter is no array of a floating dtype.
    """

    def init(params: Tree) -> ZeroNansState:
        tree.check_floats("zero_nans", "params", params)
        return ZeroNansState(tree.map(lambda _: np.array(False), params))

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        # Beside a number these two ignore NaN: max(g, 0) + min(g, 0) is g, or 0.
        np.fmax(g, 0, out=u)
        np.fmin(g, 0, out=t)
        return np.add(u, t, out=u)

    @np.errstate(invalid="ignore")
    def has_nan(u: Array) -> Array:
        return np.array(np.isnan(u.min(initial=0)))

    def sweep(run: Sweep, state: ZeroNansState) -> ZeroNansState:
        check_state("zero_nans", state, ZeroNansState)
        found = tree.map(has_nan, run.updates())
        if any(tree.leaves(found)):
            run.each(kernel)
        return ZeroNansState(found)

    return swept(init, sweep)


def raise_if_not_finite() -> GradientTransformation:
    """Refuse updates that are not finite, and leave those that are as they are.

    As the first of a chain it does so before anything is written, with ``donate`` too.

    The update raises DomainError: the message has the path and the index of the first entry that is
    not finite.
    """

    def check(path: Path, u: Array) -> None:
        if _is_finite(u):
            return
        bad = ~np.isfinite(u)
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DomainError(
            f"raise_if_not_finite: updates{tree.show(path)}{list(where) if where else ''} is "
            f"{u[where]}, expected finite numbers; {np.count_nonzero(bad)} of {u.size} are not"
        )

    return stateless("raise_if_not_finite", lambda run: tree.map_with_path(check, run.updates()))


@np.errstate(all="ignore")
def _is_finite(u: Array) -> bool:
    """One pass without temporaries tells, unless the sum of what is finite is not."""
    total = float(u.sum(dtype=np.promote_types(u.dtype, np.float32)))
    return math.isfinite(total) or bool(np.isfinite(u).all())
