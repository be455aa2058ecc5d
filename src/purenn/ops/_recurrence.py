"""Cells of a recurrence and their unrolled sequences, whatever the cell does."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np

from purenn import tree
from purenn.contract import unchecked
from purenn.ops import _linear, linear
from purenn.ops._numerics import narrow, widen
from purenn.typing import Array, Pullback

Carry = TypeVar("Carry")
"""The hidden state, or a tuple that ends in it."""

dense = unchecked(linear.dense)

Step: TypeAlias = tuple[Any, Callable[[Any], tuple[Array, Array, Any]]]
"""The next carry, and a pullback from its cotangent to those of the projected input, of the
projected hidden state and of the carry."""


class Cell(NamedTuple):
    """What one recurrence has that others do not."""

    gates: tuple[str, ...]
    """Names of the parameters after i or h, in the order that a step wants them side by side."""
    step_vjp: Callable[..., Step]
    """Of the projected input, the carry, and kernel and bias of the hidden state."""


class Dense(NamedTuple):
    kernel: Array
    bias: Array


def cell_vjp(cell: Cell, params: Any, carry: Carry, inputs: Array) -> tuple[Carry, Pullback]:
    """One step, with its pullback."""
    wide, state, x = tree.map(widen, (params, carry, inputs))
    of_x, of_h = _side_by_side(cell, wide, "i"), _side_by_side(cell, wide, "h")
    new_state, step_pullback = cell.step_vjp(dense(x, *of_x), state, *of_h)

    def pullback(dcarry: Any) -> tuple[Any, ...]:
        dprojected, dhidden, dstate = step_pullback(tree.map(widen, dcarry))
        dparams = _apart(cell, params, "i", x, dprojected)
        dparams |= _apart(cell, params, "h", _hidden(state), dhidden)
        return _narrowed((dparams, dstate, _dense_pullback(of_x, dprojected)), inputs)

    return _narrowed(new_state, inputs), pullback


def sequence(
    cell: Cell, params: Any, carry: Carry, inputs: Array, reverse: bool, keep_order: bool
) -> tuple[Carry, Array]:
    """All steps, of which nothing is kept but the hidden state."""
    wide, state, x = tree.map(widen, (params, carry, _in_time(inputs, reverse)))
    hidden = np.empty((*x.shape[:-1], _hidden(state).shape[-1]), x.dtype)
    for t, (new_state, _) in enumerate(_steps(cell, wide, state, x)):
        hidden[t], state = _hidden(new_state), new_state
    return _narrowed((state, _out_of_time(hidden, reverse and keep_order)), inputs)


def sequence_vjp(
    cell: Cell, params: Any, carry: Carry, inputs: Array, reverse: bool, keep_order: bool
) -> tuple[tuple[Carry, Array], Pullback]:
    """All steps, with the pullback that goes through them backwards.

    Behind its door that takes ``input_cotangent=False``, for whoever wants those of the
    parameters alone; the others are ``None`` then.
    """
    wide, state, x = tree.map(widen, (params, carry, _in_time(inputs, reverse)))
    before = np.empty((*x.shape[:-1], _hidden(state).shape[-1]), x.dtype)
    after = np.empty_like(before)
    pullbacks = []
    for t, (new_state, step_pullback) in enumerate(_steps(cell, wide, state, x)):
        before[t], after[t], state = _hidden(state), _hidden(new_state), new_state
        pullbacks.append(step_pullback)

    def pullback(dy: Any, *, input_cotangent: bool = True) -> tuple[Any, ...]:
        dstate, dys = tree.map(widen, dy)
        dys = _in_time(dys, reverse and keep_order)
        dprojected = np.empty((*x.shape[:-1], len(cell.gates) * before.shape[-1]), x.dtype)
        dhidden = np.empty_like(dprojected)
        for t in reversed(range(len(x))):
            dprojected[t], dhidden[t], dstate = pullbacks[t](_plus(dstate, dys[t]))
        dparams = _apart(cell, params, "i", x, dprojected)
        dparams |= _apart(cell, params, "h", before, dhidden)
        if not input_cotangent:
            return _narrowed((dparams, None, None), inputs)
        dx = _dense_pullback(_side_by_side(cell, wide, "i"), dprojected)
        return _narrowed((dparams, dstate, _out_of_time(dx, reverse)), inputs)

    return _narrowed((state, _out_of_time(after, reverse and keep_order)), inputs), pullback


def _steps(cell: Cell, params: Any, state: Any, x: Array) -> Iterator[Step]:
    """Step by step the next carry with its pullback; all inputs are projected in one product."""
    kernel, bias = _side_by_side(cell, params, "i")
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    projected = dense(rows, kernel, bias).reshape(*x.shape[:-1], bias.size)
    of_h = _side_by_side(cell, params, "h")
    for its in projected:
        state, pullback = cell.step_vjp(its, state, *of_h)
        yield state, pullback


def _side_by_side(cell: Cell, params: Any, side: str) -> Dense:
    """The kernels of all gates for the input, i, or for the hidden state, h; 0 for no bias."""
    parts = [params[side + gate] for gate in cell.gates]
    kernels = [part["kernel"] for part in parts]
    biases = [part.get("bias", np.zeros(kernels[0].shape[1:], kernels[0].dtype)) for part in parts]
    return Dense(np.concatenate(kernels, axis=1), np.concatenate(biases))


def _apart(cell: Cell, params: Any, side: str, x: Array, dy: Array) -> dict[str, Any]:
    """The pullback of :func:`_side_by_side` and of the product with ``x``."""
    dkernel, dbias = _linear.dense_parameter_cotangents(x, dy)
    count = len(cell.gates)
    found = {}
    parts = zip(cell.gates, np.split(dkernel, count, axis=1), np.split(dbias, count), strict=True)
    for gate, its_kernel, its_bias in parts:
        found[side + gate] = {"kernel": its_kernel}
        if "bias" in params[side + gate]:
            found[side + gate]["bias"] = its_bias
    return found


def _hidden(state: Any) -> Array:
    return state[-1] if isinstance(state, tuple) else state  # type: ignore[no-any-return]


def _plus(dstate: Any, dy: Array) -> Any:
    """dy added to the cotangent of the hidden state."""
    return (*dstate[:-1], dstate[-1] + dy) if isinstance(dstate, tuple) else dstate + dy


def _in_time(x: Array, backwards: bool) -> Array:
    """Time first, from its end if ``backwards``."""
    moved = np.moveaxis(x, -2, 0)
    return moved[::-1] if backwards else moved


def _out_of_time(y: Array, backwards: bool) -> Array:
    """The inverse of :func:`_in_time`."""
    return np.moveaxis(y[::-1] if backwards else y, 0, -2)


def _dense_pullback(dense: Dense, dy: Array) -> Array:
    rows = dy.reshape(math.prod(dy.shape[:-1]), dy.shape[-1])
    dx = _linear.dense_input_cotangent(dense.kernel, rows)
    return dx.reshape(*dy.shape[:-1], dx.shape[-1])


Tree = TypeVar("Tree")


def _narrowed(wide: Tree, like: Array) -> Tree:
    """Rounded copies: what a pullback keeps is nobody else's."""
    return cast(Tree, tree.map(lambda x: narrow(x.copy(), like), wide))
