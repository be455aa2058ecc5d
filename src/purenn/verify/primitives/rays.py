"""Kinks of functions of single numbers, seen from both sides."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np

from purenn.typing import Array
from purenn.verify.balls import Balls, lift, zeros
from purenn.verify.primitives.choices import Ties
from purenn.verify.primitives.duals import Dual, joined

Run: TypeAlias = Callable[[Sequence[Dual], Ties], list[Dual]]


def sharpened(run: Run, inputs: Sequence[Dual]) -> list[Dual]:
    """The results of a function of single numbers, with no wider tangents than its kinks have.

    By the chain rule a tangent holds all that comes of any slope of any part at its kink. But
    the parts of one function go to the same side together, and may cancel. So at a kink it is
    run along each direction and against it, and the tangent is the ball that holds both sides
    and what autodiff finds on the point itself.
    """
    results = run(inputs, Ties.EVERY_SIDE)
    tangents = [y.tangents for y in results if y.tangents is not None]
    if not any(np.any(_wide(t)) for t in tangents) or any(x.nearby is not None for x in inputs):
        return results
    found = _in_rows(results, len(tangents[0]))
    kinked = np.asarray(_wide(found), bool)
    for rows in _groups(np.flatnonzero(kinked.any(1)).tolist(), ~(found == 0)):
        told = [
            sign * _in_rows(run([_along(x, rows, sign) for x in inputs], ties), 1)[0]
            for ties in (Ties.POINT, Ties.RAY)
            for sign in (1, -1)
        ]
        both = reduce(joined, told)
        for i in rows:
            found[i] = np.where(kinked[i], both, found[i])
    blocks = np.split(found, np.cumsum([y.value.size for y in results])[:-1], axis=1)
    return [
        y if y.tangents is None else y._replace(tangents=block.reshape(y.tangents.shape))
        for y, block in zip(results, blocks, strict=True)
    ]


_wide = lift(lambda ball: ball.rel_accuracy_bits() < 30)


def _in_rows(results: Sequence[Dual], directions: int) -> Balls:
    """All tangents, those of each direction in a row."""
    shapes = [(directions, y.value.size) for y in results]
    rows = [
        zeros(shape) if y.tangents is None else y.tangents.reshape(shape)
        for y, shape in zip(results, shapes, strict=True)
    ]
    return np.concatenate(rows, axis=1)


def _along(x: Dual, rows: Sequence[int], sign: int) -> Dual:
    """``x`` with one direction: all of those in ``rows`` together, or against them."""
    if x.tangents is None:
        return x
    return x._replace(tangents=sign * np.add.reduce(x.tangents[rows], 0, keepdims=True))


def _groups(rows: Sequence[int], active: Array) -> list[list[int]]:
    """Directions together that move nothing in common."""
    groups: list[tuple[list[int], Array]] = []
    for row in rows:
        for members, taken in groups:
            if not np.any(taken & active[row]):
                members.append(row)
                taken |= active[row]
                break
        else:
            groups.append(([row], active[row].copy()))
    return [members for members, _ in groups]
