"""Plans: second forms of a few rules, for networks so small that arithmetic is not what takes long.

``f_plan(*primals)`` looks at nothing of its arguments but their shapes and dtypes, which the door
of ``f`` has let in before. What it makes keeps the arrays that it works in, and does what ``f_vjp``
does, operation by operation: the results have the same bits. How a rule is derived stands there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn.contract import check_domain
from purenn.ops._numerics import sum_rows, where_positive
from purenn.typing import Array, Index


class Plan(NamedTuple):
    """A rule for given shapes and dtypes.

    Attributes:
        y: Where its value will be.
        forward: ``(*primals) -> None``, fills ``y``.
        backward: ``(*primals, dy, *cotangents) -> None``, fills the cotangents, which share no
            memory with ``dy``, after ``forward`` with the same primals; one that is ``None`` is
            not wanted.
        reads_y: Whether ``backward`` wants ``y`` as it was.
    """

    y: Array
    forward: Callable[..., object]
    backward: Callable[..., object]
    reads_y: bool = False


Planner: TypeAlias = Callable[..., Plan | None]
"""``(*primals) -> Plan`` for their shapes and dtypes; None where there is none for these."""


def plan_of(rule: Callable[..., Any]) -> Planner | None:
    """``f_plan`` for a rule ``f`` of purenn's; None if there is none."""
    if not getattr(rule, "__module__", "").startswith("purenn.ops."):
        return None
    return globals().get(f"{rule.__name__}_plan")


def dense_plan(x: Array, kernel: Array, bias: Array) -> Plan | None:
    """``dense`` for a matrix of inputs and given shapes; half precision has none."""
    if x.ndim != 2 or x.itemsize == 2:
        return None
    y = np.empty((len(x), len(bias)), x.dtype)

    def forward(x: Array, kernel: Array, bias: Array) -> None:
        np.dot(x, kernel, y)
        np.add(y, bias, out=y)

    def backward(
        x: Array,
        kernel: Array,
        bias: Array,
        dy: Array,
        dx: Array | None,
        dkernel: Array,
        dbias: Array,
    ) -> None:
        np.dot(x.T, dy, dkernel)
        sum_rows(dy, dbias)
        if dx is not None:
            np.dot(dy, kernel.T, dx)

    return Plan(y, forward, backward)


def relu_plan(x: Array, in_place: bool = False) -> Plan:
    """``relu`` for a given shape, or for x itself if that is nobody else's."""
    y = x if in_place else np.empty(x.shape, x.dtype)
    zeros = np.zeros(x.shape[-1:], x.dtype)

    def forward(x: Array) -> None:
        np.maximum(x, zeros, out=y)

    def backward(x: Array, dy: Array, dx: Array) -> None:
        where_positive(y, dy, dx)

    return Plan(y, forward, backward, reads_y=True)


def softmax_cross_entropy_with_integer_labels_plan(logits: Array, labels: Array) -> Plan | None:
    """The same along the last axis of float32 in a matrix, for given shapes.

    ``forward`` raises DomainError for a label that is no class.
    """
    if logits.ndim != 2 or logits.dtype != np.float32:
        return None
    name, in_range = "softmax_cross_entropy_with_integer_labels", Index("classes")
    count, classes = logits.shape
    sizes, starts = {"classes": classes}, np.arange(0, logits.size, classes)
    losses = np.empty(count, np.float32)
    wide, d, e = np.empty((3, count, classes))
    largest, its, others, total, wide_losses = np.empty((5, count))
    columns = largest[:, np.newaxis], others[:, np.newaxis], total[:, np.newaxis]
    top, at_label = np.empty((2, count), np.intp)
    zero, one = np.zeros(()), np.ones(())  # NumPy takes longer with numbers that are no arrays

    def forward(logits: Array, labels: Array) -> None:
        check_domain(name, "labels", labels, in_range, sizes)
        np.copyto(wide, logits)
        logits.argmax(-1, top)
        np.add(top, starts, out=top)
        wide.take(top, None, largest, "clip")
        np.subtract(wide, columns[0], out=d)
        np.exp(d, out=e)
        np.add(labels, starts, out=at_label)
        e.take(at_label, None, its, "clip")
        e.put(at_label, zero)
        np.add.reduce(e, axis=-1, out=columns[1], keepdims=True)
        np.subtract(its, one, out=total)
        np.add(others, total, out=total)
        np.log1p(total, out=wide_losses)
        np.subtract(wide_losses, d.take(at_label), out=wide_losses)
        np.copyto(losses, wide_losses, "same_kind")

    def backward(logits: Array, labels: Array, dy: Array, dlogits: Array, dlabels: None) -> None:
        np.add(others, its, out=total)
        np.negative(others, out=others)
        e.put(at_label, others)
        np.divide(dy, total, out=total)
        np.multiply(e, columns[2], out=dlogits, casting="same_kind")

    return Plan(losses, forward, backward)
