"""The seeded mistakes: rules made wrong in one way each, as people have made them wrong.

The examiner itself is examined with them. And it recognises a mistake by them: :func:`explain`
tells which of them makes the right derivative into the one that was returned.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn.typing import Array

Leaves: TypeAlias = list[Array]
Cotangents: TypeAlias = list[Array | None]
"""One per argument, ``None`` for integers."""

Pull: TypeAlias = Callable[[Leaves], Cotangents]
Answer: TypeAlias = tuple[Leaves, Pull]
Vjp: TypeAlias = Callable[[Leaves], Answer]
"""A rule over flat lists: ``ys, pullback = vjp(xs)`` and ``dxs = pullback(dys)``."""

Mutate: TypeAlias = Callable[[Vjp], Vjp]


class Mutant(NamedTuple):
    """A mistake to be made in any rule; where the shapes do not allow it, nothing changes."""

    name: str
    story: str
    """Finishes the sentence "this is what you get if …"."""
    mutate: Mutate


class _Call(NamedTuple):
    """A rule that was called, and the cotangents of its outputs."""

    vjp: Vjp
    xs: Leaves
    ys: Leaves
    pullback: Pull
    dys: Leaves

    def dxs(self) -> Cotangents:
        return self.pullback(self.dys)

    def fitting(self, x: Array) -> int | None:
        """The first output in the shape of ``x``."""
        return next((i for i, dy in enumerate(self.dys) if dy.shape == x.shape), None)


def _rule(call: Callable[[Vjp, Leaves], Answer]) -> Mutate:
    """The rule is called as ``call`` does it."""
    return lambda vjp: partial(call, vjp)


def _pulled(derivative: Callable[[_Call], Cotangents]) -> Mutate:
    """The pullback is replaced, the value stays."""

    def mutated(vjp: Vjp, xs: Leaves) -> Answer:
        ys, pullback = vjp(xs)

        def wrong(dys: Leaves) -> Cotangents:
            with np.errstate(all="ignore"):
                return derivative(_Call(vjp, xs, ys, pullback, dys))

        return ys, wrong

    return _rule(mutated)


def _valued(change: Callable[[Array], Any]) -> Mutate:
    """The value is changed, the pullback stays."""

    def mutated(vjp: Vjp, xs: Leaves) -> Answer:
        ys, pullback = vjp(xs)
        with np.errstate(all="ignore"):
            return [_like(change(y), y) if _is_float(y) else y for y in ys], pullback

    return _rule(mutated)


def _each(change: Callable[[Array, Array], Any]) -> Mutate:
    """Every cotangent becomes ``change(x, dx)``."""
    return _pulled(lambda call: _changed(call, lambda i, dx: _like(change(call.xs[i], dx), dx)))


def _each_with_dy(change: Callable[[Array, Array], Any]) -> Mutate:
    """Every cotangent becomes ``change(dy, dx)`` where an output is of its shape."""

    def derivative(call: _Call) -> Cotangents:
        def one(i: int, dx: Array) -> Array:
            place = call.fitting(call.xs[i])
            return dx if place is None else _like(change(call.dys[place], dx), dx)

        return _changed(call, one)

    return _pulled(derivative)


def _scaled(n: Callable[[Array], int], power: int) -> Mutate:
    return _each(lambda x, dx: dx * float(max(n(x), 1)) ** power)


def _with_dy(change: Callable[[Array], Any]) -> Mutate:
    """The pullback is given ``change(dy)``."""
    return _pulled(lambda call: call.pullback([_like(change(dy), dy) for dy in call.dys]))


def _at(move: Callable[[Array], Any]) -> Mutate:
    """The derivative is that at ``move(x)``."""

    def derivative(call: _Call) -> Cotangents:
        moved = [_like(move(x), x) if _is_float(x) else x for x in call.xs]
        return call.vjp(moved)[1](call.dys)

    return _pulled(derivative)


def _changed(call: _Call, change: Callable[[int, Array], Array]) -> Cotangents:
    return [None if dx is None else change(i, dx) for i, dx in enumerate(call.dxs())]


def _like(x: Any, dtype_of: Array) -> Array:
    return np.asarray(x, dtype_of.dtype)


def _is_float(x: Array) -> bool:
    return np.issubdtype(x.dtype, np.floating)


def _part(x: Array, part: slice) -> Array:
    """The entries of ``part``, row by row, and zero for the rest."""
    kept = np.zeros(x.size, x.dtype)
    kept[part] = x.ravel()[part]
    return kept.reshape(x.shape)


def _length(x: Array, axis: int) -> int:
    """Of ``axis``; 1 where it is the only one, so that no two stories are the same."""
    return x.shape[axis] if x.ndim > 1 else 1


_LENGTHS: tuple[tuple[str, str, Callable[[Array], int]], ...] = (
    ("", "entries of the argument", lambda x: x.size),
    (" of the first axis", "length of the first axis", lambda x: _length(x, 0)),
    (" of the last axis", "length of the last axis", lambda x: _length(x, -1)),
)


def _first_row(dy: Array) -> Array:
    return np.concatenate([dy[:1], np.zeros_like(dy[1:])]) if dy.ndim else dy


def _untransposed(x: Array) -> Array:
    return np.swapaxes(x, -1, -2) if x.ndim > 1 and x.shape[-1] == x.shape[-2] else x


def _detached(which: int) -> Mutate:
    def derivative(call: _Call) -> Cotangents:
        places = [i for i, x in enumerate(call.xs) if _is_float(x)]
        lost = places[which] if len(places) > 1 else None
        return _changed(call, lambda i, dx: np.zeros_like(dx) if i == lost else dx)

    return _pulled(derivative)


def _swapped(call: _Call) -> Cotangents:
    dxs = list(call.dxs())
    for (i, x), (j, other) in itertools.combinations(enumerate(call.xs), 2):
        if _is_float(x) and x.dtype == other.dtype and x.shape == other.shape:
            dxs[i], dxs[j] = dxs[j], dxs[i]
            break
    return dxs


def _diagonal(call: _Call) -> Cotangents:
    """J_ii dy_i for each argument in the shape of an output, one call per entry."""
    diagonal = _changed(call, lambda _, dx: np.array(dx))
    fitting = [call.fitting(x) for x in call.xs]
    for k in {k for k in fitting if k is not None}:
        for place in np.ndindex(call.dys[k].shape):
            one_hot = [np.zeros_like(dy) for dy in call.dys]
            one_hot[k][place] = call.dys[k][place]
            for dx, column, its in zip(diagonal, call.pullback(one_hot), fitting, strict=True):
                if dx is not None and column is not None and its == k:
                    dx[place] = column[place]
    return diagonal


def _coupling(call: _Call) -> Cotangents:
    diagonal = _diagonal(call)

    def rest(i: int, dx: Array) -> Array:
        off = dx - diagonal[i]
        return off if np.any(off) else dx  # nothing is coupled

    return _changed(call, rest)


def _at_output(call: _Call) -> Cotangents:
    for i, x in enumerate(call.xs):
        place = call.fitting(x)
        if place is not None and _is_float(x):
            moved = [*call.xs[:i], _like(call.ys[place], x), *call.xs[i + 1 :]]
            return call.vjp(moved)[1](call.dys)
    return call.dxs()


def _other_axis(call: _Call) -> Cotangents:
    if any(x.shape != x.shape[::-1] for x in (*call.xs, *call.dys)):
        return call.dxs()
    dxs = call.vjp([x.T for x in call.xs])[1]([dy.T for dy in call.dys])
    return [None if dx is None else dx.T for dx in dxs]


def _in_dtype(dtype: type[np.floating[Any]]) -> Mutate:
    return _pulled(lambda call: _changed(call, lambda _, dx: np.asarray(dx, dtype)))


def _negate_in_place(x: Array) -> None:
    if _is_float(x):
        with suppress(ValueError):  # a view of a read-only array stays one
            x.setflags(write=True)
        np.negative(x, out=x)


def _writing_to_dy(call: _Call) -> Cotangents:
    dxs = _changed(call, lambda _, dx: np.array(dx))
    for dy in call.dys:
        _negate_in_place(dy)
    return dxs


def _writing_to_x(vjp: Vjp, xs: Leaves) -> Answer:
    ys, pullback = vjp([np.array(x) for x in xs])
    for x in xs:
        _negate_in_place(x)
    return ys, pullback


def _accumulating(vjp: Vjp, xs: Leaves) -> Answer:
    ys, pullback = vjp(xs)
    sums: dict[int, Array] = {}

    def add(i: int, dx: Array) -> Array:
        sums[i] = _like(sums.get(i, 0) + dx, dx)
        return sums[i]

    return ys, lambda dys: _changed(_Call(vjp, xs, ys, pullback, dys), add)


def _toward(end: float, _: int, dx: Array) -> Array:
    return _like(np.nextafter(dx, _like(end, dx)), dx)


def _unsteady(vjp: Vjp) -> Vjp:
    ends = itertools.cycle([-np.inf, np.inf])
    return _pulled(lambda call: _changed(call, partial(_toward, next(ends))))(vjp)


MISTAKES: tuple[Mutant, ...] = (
    Mutant("zeros", "the cotangent is left at zero", _each(lambda x, dx: np.zeros_like(dx))),
    Mutant("sign", "the sign is turned around", _each(lambda x, dx: -dx)),
    Mutant("twice", "there is a factor 2 too many", _each(lambda x, dx: 2 * dx)),
    Mutant("half", "a factor 2 is forgotten", _each(lambda x, dx: dx / 2)),
    Mutant("no dy", "dy is forgotten (ones in its place)", _with_dy(np.ones_like)),
    Mutant("dy", "dy is passed through as it is", _each_with_dy(lambda dy, dx: dy)),
    Mutant("ones", "the cotangent is one everywhere", _each(lambda x, dx: np.ones_like(dx))),
    *(Mutant(f"no 1/N{of}", f"the mean's 1/N is forgotten (N = {what})",
             _scaled(n, 1)) for of, what, n in _LENGTHS),
    *(Mutant(f"1/N{of}", f"a mean is taken where a sum belongs (N = {what})",
             _scaled(n, -1)) for of, what, n in _LENGTHS),
    Mutant("1/N of dy", "the batch is averaged where it should be summed (N = rows of dy)",
           _with_dy(lambda dy: dy / len(dy) if dy.ndim else dy)),
    Mutant("|dy|", "the sign of dy is lost (|dy| in its place)", _with_dy(np.abs)),
    Mutant("dy squared", "dy is multiplied in twice", _with_dy(np.square)),
    Mutant("reciprocal", "dy is divided by the derivative instead of multiplied with it",
           _each_with_dy(lambda dy, dx: dy * (dy / dx))),
    Mutant("first detached", "the first argument is left out (zeros)", _detached(0)),
    Mutant("last detached", "the last argument is left out (zeros)", _detached(-1)),
    Mutant("swapped", "the cotangents of two arguments are swapped", _pulled(_swapped)),
    Mutant("transposed", "the cotangent is transposed",
           _each(lambda x, dx: dx.T if dx.shape == dx.shape[::-1] else dx)),
    Mutant("untransposed", "a transpose is forgotten in a matrix product", _at(_untransposed)),
    Mutant("other axis", "the derivative is taken along the wrong axis", _pulled(_other_axis)),
    Mutant("diagonal", "the entries' coupling is dropped (the Jacobian's diagonal alone)",
           _pulled(_diagonal)),
    Mutant("coupling", "an entry's effect on itself is dropped (the Jacobian without its diagonal)",
           _pulled(_coupling)),
    Mutant("first entry", "only the first entry is computed, the rest left at zero",
           _each(lambda x, dx: _part(dx, slice(1)))),
    Mutant("first example", "only the batch's first example contributes", _with_dy(_first_row)),
    Mutant("last entry", "a loop stops one short and leaves the last entry at zero",
           _each(lambda x, dx: _part(dx, slice(max(dx.size - 1, 1))))),
    Mutant("rolled", "an index is off by one", _each(lambda x, dx: np.roll(dx, 1))),
    Mutant("at the output", "the derivative is evaluated at the output instead of the input",
           _pulled(_at_output)),
    Mutant("at -x", "the derivative is evaluated at -x", _at(np.negative)),
    Mutant("at |x|", "the derivative is evaluated at |x|", _at(np.abs)),
    Mutant("clipped", "it is clipped to [-1, 1] on the way", _each(lambda x, dx: dx.clip(-1, 1))),
    Mutant("not below", "the cotangent is zero for negative inputs",
           _each(lambda x, dx: np.where(x < 0, 0, dx))),
    Mutant("not above", "the cotangent is zero for positive inputs",
           _each(lambda x, dx: np.where(x > 0, 0, dx))),
    Mutant("saturation", "the derivative is twice as large in saturation (|x| > 10)",
           _each(lambda x, dx: np.where(np.abs(x) > 10, 2 * dx, dx))),
    Mutant("at zero", "x = 0 is divided by with an epsilon (the cotangent there is 1000 too large)",
           _each(lambda x, dx: np.where(x == 0, 1e3 + dx, dx))),
    Mutant("0/0", "dy is divided out and multiplied in again (0/0 where it is zero)",
           _with_dy(lambda dy: np.where(dy == 0, np.nan, dy))),
    Mutant("1e-3", "a constant is off by a thousandth", _each(lambda x, dx: dx * (1 + 1e-3))),
    Mutant("1e-5", "a constant has only five digits", _each(lambda x, dx: dx * (1 + 1e-5))),
    Mutant("float16", "it is rounded to float16 on the way",
           _each(lambda x, dx: dx.astype(np.float16))),
)  # fmt: skip
"""Wrong derivatives, the plainest first."""

BREACHES: tuple[Mutant, ...] = (
    Mutant("value", "the value is off by a thousandth", _valued(lambda y: y * 1.001)),
    Mutant("shifted value", "a constant is added to the value",
           _valued(lambda y: y + 1e-3 * np.max(np.abs(y), initial=0.0))),
    Mutant("shape", "the sum that undoes a broadcast keeps its dimension",
           _each(lambda x, dx: dx[np.newaxis])),
    Mutant("float64", "the cotangent is float64 whatever the argument", _in_dtype(np.float64)),
    Mutant("float32", "the cotangent is float32 whatever the argument", _in_dtype(np.float32)),
    Mutant("writes to dy", "dy is changed in place", _pulled(_writing_to_dy)),
    Mutant("writes to x", "the arguments are changed in place", _rule(_writing_to_x)),
    Mutant("accumulates", "a second call of the pullback adds to the first", _rule(_accumulating)),
    Mutant("unsteady", "a sum's order changes from call to call (the last bit)", _unsteady),
)  # fmt: skip
"""Wrong values and broken contracts; the derivative behind them is right."""

MUTANTS: tuple[Mutant, ...] = (*MISTAKES, *BREACHES)


class Answered(NamedTuple):
    """What a rule returned at an input, and the right rule, with results in float64."""

    xs: Leaves
    dys: Leaves
    dxs: list[Any]
    truth: Vjp


def explain(answers: Sequence[Answered]) -> str:
    """Which mistake makes the true cotangents into those returned, at each of some inputs.

    "this is what you get if …", or "" if none does. The plainest mistake that fits is named, and
    the next one that does. If none fits all cotangents, those that fit the one that is wrong are
    named. Inputs where the rule is right count too: a mistake has to leave them as they are. The
    truth is asked about a dozen times per input, and twice per entry of an output that has the
    shape of an argument.
    """
    told = [_stories(one) for one in answers]
    if not any(is_wrong for is_wrong, _ in told):
        return ""
    (_, first), *others = told
    common = [fit for fit in first if all(fit in more for _, more in others)]
    whole = [story for story, place in common if place is None]
    stories = whole or [f"{story}, in cotangent {place} alone" for story, place in common]
    return f"this is what you get if {', or if '.join(stories[:2])}" if stories else ""


def _stories(answer: Answered) -> tuple[bool, list[tuple[str, int | None]]]:
    """Whether the answer is wrong; what gives it, in all cotangents (None) or in one of them."""
    try:
        with np.errstate(all="ignore"):
            return _fitting(*answer)
    except Exception:  # what explains a failure must not hide it by another
        return False, []


def _fitting(
    xs: Leaves, dys: Leaves, dxs: list[Any], truth: Vjp
) -> tuple[bool, list[tuple[str, int | None]]]:
    ys, pullback = truth(xs)
    right = pullback(dys)

    def remembered(at: Leaves) -> Answer:
        return (ys, lambda by: right if by is dys else pullback(by)) if at is xs else truth(at)

    wrong = _unlike(dxs, right)
    found: list[tuple[str, int | None]] = []
    for mutant in MISTAKES:
        with suppress(Exception):  # this mistake cannot be made here
            unlike = _unlike(dxs, mutant.mutate(remembered)(xs)[1](dys))
            found += [(mutant.story, None)] * (not unlike)
            alike = set(range(len(dxs))) - unlike
            found += [(mutant.story, i) for i in sorted(alike) if wrong <= {i}]
    return bool(wrong), found


def _unlike(dxs: Sequence[Any], theirs: Cotangents) -> set[int]:
    """The places where the two differ by more than rounding; integers have no cotangent."""
    pairs = enumerate(zip(dxs, theirs, strict=True))
    return {i for i, (dx, their) in pairs if their is not None and not _close(dx, their)}


def _close(dx: Any, their: Array) -> bool:
    if not isinstance(dx, np.ndarray) or dx.shape != their.shape or not _is_float(dx):
        return False
    tolerance = 1e-6 if dx.dtype == np.float64 else 1e-4
    ours, theirs = pair = np.stack([dx, _like(their, dx)]).astype(np.float64)
    scale = np.max(np.abs(pair), initial=0.0, where=np.isfinite(pair))
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    return bool(np.all(same | (np.abs(ours - theirs) <= tolerance * scale)))
