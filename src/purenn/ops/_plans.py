"""Plans: second forms of a few rules, for networks so small that arithmetic is not what takes long.

A plan is what ``f_vjp`` does as a list of NumPy calls upon fixed arrays: in a loop over it nothing
is asked of an array, and none is allocated. ``f_plan(*primals)`` makes one for these very arrays,
whatever is in them by then; of their values it sees nothing. The calls are those of the rule, one
for one, so that the results have the same bits. How a rule is derived stands there.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn.contract import check_domain
from purenn.ops._numerics import FOLDED, bits_of
from purenn.typing import Array, Index

Call: TypeAlias = tuple[Callable[..., object], tuple[Any, ...]]


def run(calls: Iterable[Call]) -> None:
    """Make the calls."""
    for function, arguments in calls:
        function(*arguments)


def loud(function: Callable[[], object]) -> None:
    """Call what is not purenn's: its warnings are for whoever trains with it."""
    function()


def quietly(calls: Iterable[Call]) -> list[Call]:
    """The same calls without warnings about infinities, but for the loud ones."""
    return [
        call
        for is_loud, its in groupby(calls, lambda call: call[0] is loud)
        for call in (its if is_loud else [(_run_quietly, ([*its],))])
    ]


_run_quietly = np.errstate(all="ignore")(run)


class Plan(NamedTuple):
    """A rule for given arrays.

    Attributes:
        y: Where its value will be.
        forward: What fills ``y``.
        backward: ``(dy, *cotangents) -> calls``: what fills the cotangents after ``forward``. They
            share no memory with ``dy``; one that is ``None`` is not wanted.
        reads_y: Whether the way back wants ``y`` as it was.

    That of a layer has the way back ``(dy, dparams, dx) -> calls``.
    """

    y: Array
    forward: list[Call]
    backward: Callable[..., list[Call]]
    reads_y: bool = False


Planner: TypeAlias = Callable[..., Plan | None]
"""``(*primals) -> Plan`` for these arrays; None where there is none for such."""


def plan_of(rule: Callable[..., Any]) -> Planner | None:
    """``f_plan`` for a rule ``f`` of purenn's; None if there is none."""
    if not getattr(rule, "__module__", "").startswith("purenn.ops."):
        return None
    return globals().get(f"{rule.__name__}_plan")


def plan_by_vjp(rule_vjp: Callable[..., Any], *primals: Array, **static: Any) -> Plan:
    """A plan of any rule, whose results are put where they belong; only the first has a cotangent.

    The arrays must hold what the rule takes, as it is called to see what comes of them.
    """
    value = rule_vjp(*primals, **static)[0]
    y, pullback = np.empty(value.shape, value.dtype), _unready
    is_ours = getattr(rule_vjp, "__module__", "").startswith("purenn.")

    def call(function: Callable[[], object]) -> Call:
        return (function, ()) if is_ours else (loud, (function,))

    def forward() -> None:
        nonlocal pullback
        value, pullback = rule_vjp(*primals, **static)
        np.copyto(y, value)

    def backward(dy: Array, dx: Array, *others: None) -> list[Call]:
        return [call(lambda: np.copyto(dx, pullback(dy)[0]))]

    return Plan(y, [call(forward)], backward)


def _unready(dy: Array) -> tuple[Any, ...]:
    raise AssertionError("the way back before the way forward")


def dense_plan(x: Array, kernel: Array, bias: Array) -> Plan | None:
    """``dense`` for a matrix of inputs; half precision has none."""
    if x.ndim != 2 or x.itemsize == 2:
        return None
    y = np.empty((len(x), len(bias)), x.dtype)

    def backward(dy: Array, dx: Array | None, dkernel: Array, dbias: Array) -> list[Call]:
        calls: list[Call] = [(np.dot, (x.T, dy, dkernel)), *_sum_rows(dy, dbias)]
        return calls if dx is None else [*calls, (np.dot, (dy, kernel.T, dx))]

    return Plan(y, [(np.dot, (x, kernel, y)), (np.add, (y, bias, y))], backward)


def _sum_rows(x: Array, out: Array) -> list[Call]:
    """What ``sum_rows`` does to a contiguous array."""
    calls: list[Call] = []
    ones = np.ones(FOLDED, x.dtype)
    while (count := len(x)) > FOLDED:
        whole, odd = divmod(count, FOLDED)
        rows, features = x[: count - odd], x.shape[1]
        sums = np.empty((whole, features), x.dtype)
        calls.append((np.dot, (ones, rows.reshape(FOLDED, whole * features), sums.reshape(-1))))
        if odd:
            rest = np.empty(features, x.dtype)
            calls.append((np.dot, (ones[:odd], x[count - odd :], rest)))
            calls.append((np.add, (sums[-1], rest, sums[-1])))
        x = sums
    return [*calls, (np.dot, (ones[: len(x)], x, out))]


_FEW = 2**16  # bytes


def relu_plan(x: Array, in_place: bool = False) -> Plan:
    """``relu``, in the array of x itself if that is nobody else's."""
    y = x if in_place else np.empty(x.shape, x.dtype)
    word, zero = bits_of(x), np.zeros((), x.dtype)
    # NumPy compares with an array of zeros faster than with one, but a large one is memory.
    zeros = np.zeros(x.shape if x.nbytes <= _FEW else x.shape[-1:], x.dtype)

    def backward(dy: Array, dx: Array) -> list[Call]:
        kept = dx.view(word)
        return [(np.greater, (y, zero, kept)), (np.multiply, (kept, dy.view(word), kept))]

    # A third argument that is not named is deprecated for maximum alone.
    return Plan(y, [(partial(np.maximum, out=y), (x, zeros))], backward, reads_y=True)


def _check_labels(labels: Array, classes: int) -> Callable[[], None]:
    name, in_range = "softmax_cross_entropy_with_integer_labels_vjp", Index("classes")
    unsigned = labels.view(f"u{labels.itemsize}")  # a negative number is a large one

    def check() -> None:
        if unsigned[unsigned.argmax()] >= classes:
            check_domain(name, "labels", labels, in_range, {"classes": classes})

    return check


def softmax_cross_entropy_with_integer_labels_plan(logits: Array, labels: Array) -> Plan | None:
    """``softmax_cross_entropy_with_integer_labels`` of a matrix in float32, along its last axis.

    The way forward raises DomainError for a label that is no class.
    """
    if logits.ndim != 2 or logits.dtype != np.float32 or labels.dtype == np.uint64:
        return None
    count, classes = logits.shape
    starts, ones = np.arange(0, logits.size, classes), np.ones(classes)
    losses = np.empty(count, np.float32)
    wide, d, e = np.empty((3, count, classes))
    largest, its, at_its, others, total, wide_losses = np.empty((6, count))
    top, at_label = np.empty((2, count), np.intp)
    zero, one = np.zeros(()), np.ones(())

    forward: list[Call] = [
        (_check_labels(labels, classes), ()),
        (np.copyto, (wide, logits)),
        (logits.argmax, (-1, top)),
        (np.add, (top, starts, top)),
        (wide.take, (top, None, largest, "clip")),
        (np.subtract, (wide, largest[:, np.newaxis], d)),
        (np.exp, (d, e)),
        (np.add, (labels, starts, at_label)),
        (e.take, (at_label, None, its, "clip")),
        (e.put, (at_label, zero)),
        (np.dot, (e, ones, others)),
        (np.subtract, (its, one, total)),
        (np.add, (others, total, total)),
        (np.log1p, (total, wide_losses)),
        (d.take, (at_label, None, at_its, "clip")),
        (np.subtract, (wide_losses, at_its, wide_losses)),
        (np.copyto, (losses, wide_losses, "same_kind")),
    ]

    def backward(dy: Array, dlogits: Array, dlabels: None) -> list[Call]:
        return [
            (np.add, (others, its, total)),
            (np.negative, (others, others)),
            (e.put, (at_label, others)),
            (np.divide, (dy, total, total)),
            (np.multiply, (e, total[:, np.newaxis], dlogits)),
        ]

    return Plan(losses, forward, backward)
