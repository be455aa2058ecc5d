"""Elements that are taken from where integers say, and put there."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any

import jax
import numpy as np
from flint import arb

from purenn.typing import Array, Shape
from purenn.verify.balls import lift
from purenn.verify.primitives.choices import Ties, select
from purenn.verify.primitives.duals import (
    Dual,
    Function,
    UnknownPrimitiveError,
    linear,
    settled,
    unchanged,
)
from purenn.verify.primitives.kinks import maximum, minimum
from purenn.verify.primitives.smooth import smooth


def _linear_at(at_places: Function, data: Sequence[Dual], places: Sequence[Dual]) -> Dual:
    """The linear map that integers give; where those may change, with all that they may be."""
    y = linear(at_places(*[at.value for at in places]), data)
    rows = []
    for i in range(next((len(at.nearby) for at in places if at.nearby is not None), 0)):
        parts, row = [_row(x, i) for x in data], _row(y, i)
        for chosen in product(*[_candidates(at, i) for at in places]):
            row = select(_EITHER, [row, linear(at_places(*chosen), parts)])
        rows.append(row)
    if not rows:
        return y
    tangents = None if y.tangents is None else np.concatenate([row.tangents for row in rows])
    return settled(Dual(y.value, tangents, np.concatenate([_beside(row) for row in rows])))


_EITHER = Dual(np.array(False), None, np.array([True]))


def _row(x: Dual, i: int) -> Dual:
    """``x`` in one direction."""
    return Dual(x.value, *[None if a is None else a[i : i + 1] for a in (x.tangents, x.nearby)])


def _beside(row: Dual) -> Any:
    return unchanged(row.value)[None] if row.nearby is None else row.nearby


def _candidates(at: Dual, i: int) -> list[Array]:
    """In one direction all that each of the integers may be, one after the other."""
    if at.nearby is None:
        return [at.value]
    low, high = (
        np.asarray(lift(end)(at.nearby[i, ...]), at.value.dtype)
        for end in (
            lambda ball: int(ball.lower().ceil().unique_fmpz()),
            lambda ball: int(ball.upper().floor().unique_fmpz()),
        )
    )
    return [np.minimum(low + k, high) for k in range(int(np.max(high - low, initial=0)) + 1)]


def _corner(whole: Shape, part: Shape, starts: Sequence[Any]) -> tuple[slice, ...]:
    """Where a block lies: moved inwards, if it would stick out."""
    firsts = [
        max(min(int(start), size - length), 0)
        for start, size, length in zip(starts, whole, part, strict=True)
    ]
    return tuple(slice(i, i + length) for i, length in zip(firsts, part, strict=True))


def _dynamic_slice(params: dict[str, Any], x: Dual, *starts: Dual) -> Dual:
    def sliced(*at: Any) -> Function:
        return itemgetter(_corner(x.value.shape, params["slice_sizes"], at))

    return _linear_at(sliced, [x], starts)


def _dynamic_update_slice(params: dict[str, Any], x: Dual, update: Dual, *starts: Dual) -> Dual:
    def updated(*at: Any) -> Function:
        return partial(_put, places=_corner(x.value.shape, update.value.shape, at))

    return _linear_at(updated, [x, update], starts)


def _gather(params: dict[str, Any], x: Dual, indices: Dual) -> Dual:
    """Let JAX move the positions of the elements, then put the elements there."""
    size, fill = x.value.size, params["fill_value"]
    positions = np.arange(size).reshape(x.value.shape)
    if x.value.dtype == object:
        beyond = np.array(arb("nan") if fill is None else arb(fill), object)
    else:
        beyond = np.array(fill or 0, x.value.dtype)

    def gathered(at: Any) -> Function:
        moved = np.asarray(jax.lax.gather(positions, at, **params | {"fill_value": size}))
        return lambda x, beyond: np.append(x, beyond)[moved]

    return _linear_at(gathered, [x, Dual(beyond, None)], [indices])


_COMBINED: dict[str, Function] = {
    "scatter": lambda old, new: new,
    "scatter-add": partial(smooth, "add"),
    "scatter-sub": partial(smooth, "sub"),
    "scatter-mul": partial(smooth, "mul"),
    "scatter-min": partial(minimum, ties=Ties.EVERY_SIDE),
    "scatter-max": partial(maximum, ties=Ties.EVERY_SIDE),
}


def _scatter(name: str, params: dict[str, Any], x: Dual, indices: Dual, updates: Dual) -> Dual:
    """One update after the other; as many at once as go to different places."""
    if name == "scatter" and params["update_jaxpr"] is not None:
        raise UnknownPrimitiveError("no exact rule for a 'scatter' that applies a function")
    targets = _targets(params, x.value.shape, indices.value, updates.value.shape)
    flat, new = linear(np.ravel, [x]), linear(np.ravel, [updates])
    for chosen in _rounds(targets):
        places = targets[chosen]
        combined = _COMBINED[name](_taken(flat, places), _taken(new, chosen))
        flat = linear(partial(_put, places=places), [flat, combined])
    return linear(lambda a: a.reshape(x.value.shape), [flat])


def _taken(x: Dual, places: Array) -> Dual:
    return linear(lambda a: a[places], [x])


def _put(x: Any, new: Any, places: Any) -> Any:
    y = np.array(x)
    y[places] = new
    return y


def _targets(params: dict[str, Any], shape: Shape, indices: Array, updates: Shape) -> Array:
    """Where each update goes in the flat operand, −1 for nowhere: JAX adds up a bit for each."""
    numbers, mode = params["dimension_numbers"], params["mode"]
    targets = np.full(int(np.prod(updates)), -1)
    for first in range(0, targets.size, _BITS):
        bits = np.zeros(targets.size, np.int64)
        some = bits[first : first + _BITS]
        some[:] = 1 << np.arange(some.size)
        sums = jax.lax.scatter_add(
            np.zeros(shape, np.int64), indices, bits.reshape(updates), numbers, mode=mode
        )
        places, update = np.nonzero(np.asarray(sums).reshape(-1, 1) >> np.arange(some.size) & 1)
        targets[first + update] = places
    return targets


_BITS = 62


def _rounds(targets: Array) -> Iterator[Array]:
    """The updates in groups that go to different places, in their order for each place."""
    seen: dict[int, int] = {}
    turns = np.zeros(targets.size, int)
    for update, place in enumerate(targets.tolist()):
        turns[update] = seen[place] = seen.get(place, -1) + 1
    for turn in range(max(turns, default=-1) + 1):
        yield np.flatnonzero((turns == turn) & (targets >= 0))


RULES: dict[str, Function] = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    **{name: partial(_scatter, name) for name in _COMBINED},
}
