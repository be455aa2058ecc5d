"""One sweep through memory for a whole chain of transformations.

What an optimizer does to an element depends on that element alone, norms apart. So a chain does
not pass through memory once per operation: its parts only say what is to be done, and then all of
it is done to one block after the other while the block is in the cache. Small leaves make a block
together, whatever their number.
"""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn import tree
from purenn.contract import check_array
from purenn.errors import TreeError
from purenn.optimizers._blocks import (
    BLOCK,
    Column,
    Unit,
    allocate,
    blocks,
    joined,
    kinds,
    scattered,
    unit,
    units,
)
from purenn.optimizers._donation import check_donated
from purenn.optimizers._skeleton import filled, numbered, pick
from purenn.tree import Path, Tree
from purenn.typing import Array

_PLAIN = frozenset([np.ndarray, type(None)])
_F4, _F8 = np.dtype(np.float32), np.dtype(np.float64)

Blocks: TypeAlias = list[Array]

Kernel: TypeAlias = Callable[[Array, Array, Array, Blocks, Blocks], Any]
"""``(g, u, t, old, new) -> updates``: what one transformation does to one block.

``g`` is what comes in, read-only. ``old`` are the blocks of its state, and then of the parameters
if it asked for them, to be read; ``new`` those of its state to be written, maybe in the same
memory. ``u`` and ``t`` may be written to and share memory with nothing else. The array that is
returned holds what goes out: ``u``, ``g`` or one of ``new``.
"""


class MaskedNode(NamedTuple):
    """Stands in a state for a leaf that a transformation leaves alone, as in optax."""


@dataclass(slots=True, eq=False)
class _Stage:
    kernel: Kernel | None
    old: list[Column]
    new: list[Column]
    """What is read and written: per tree its leaves."""
    scope: frozenset[int] | None
    """The leaves that it is done to; None for all."""
    cast: bool
    """Whether what is read and written has a dtype of its own."""
    scale: float
    """What goes out is still to be multiplied by it."""


class Sweep:
    """Updates on their way through a chain.

    Attributes:
        donate: Whether the arrays of the gradients and of the state may be written to.
        extra: What a transformation may want to know besides.
    """

    def __init__(
        self,
        grads: Tree,
        params: Tree = None,
        donated: Mapping[str, Tree] | None = None,
        extra: dict[str, Any] | None = None,
        name: str = "grads",
    ) -> None:
        """A sweep that begins with gradients.

        Args:
            grads: The gradients; they may be written to if anything is donated.
            params: The parameters.
            donated: By name what is to be written to: the parameters, the whole of the state.
            extra: What a transformation may want to know besides.
            name: What the gradients are called.
        """
        self._name = name
        self._leaves: list[Any] = []
        self._skeleton = numbered(grads, self._leaves)
        for leaf in self._leaves:
            if type(leaf) is not np.ndarray or (leaf.dtype is not _F4 and leaf.dtype is not _F8):
                tree.check_floats("update", name, grads)  # what is rarer takes longer to look at
        self._scope: frozenset[int] | None = None
        self._kinds = kinds(self._leaves)
        self._params: list[Any] | None = None
        self._params_tree = params
        if params is not None:
            self._params = self._like("params", params)
        self._stages: list[_Stage] = []
        self._units = units(self._kinds)
        self._is_ours = [False] * len(self._leaves)
        self.donate = bool(donated)
        if donated:
            kept = () if "params" in donated else self._params or ()
            for i in check_donated(donated, self._leaves, kept):
                self._leaves[i] = self._leaves[i].copy()
            self._is_ours = [leaf.flags.writeable for leaf in self._leaves]
        self.extra = extra or {}

    def within(self, chosen: Callable[[Path], bool]) -> "Sweep":
        """The same sweep for a transformation that touches only the leaves that are chosen."""
        inner = copy(self)
        inner._skeleton = tree.map_with_path(
            lambda path, i: i if chosen(path) else MaskedNode(), self._skeleton
        )
        inner._scope = frozenset(tree.leaves(inner._skeleton))
        return inner

    def each(
        self,
        kernel: Kernel,
        *slots: Tree,
        reads_params: bool = False,
        reads: Tree = None,
        scale: float = 1.0,
        cast: bool = False,
    ) -> list[Tree]:
        """Do something to each leaf, later.

        Args:
            kernel: What is done.
            slots: Trees of the state that it reads and renews.
            reads_params: Whether it reads the parameters as well.
            reads: A tree that it reads as well, of any dtype; a number may be broadcast to a leaf.
            scale: A number that what goes out is still to be multiplied by.
            cast: Whether the state may have a dtype of its own.

        Returns:
            The new trees of the state, which are filled once the sweep has been made.
        """
        old: list[Column] = [self._like("opt_state", slot, cast) for slot in slots]
        new = old if self.donate else [self._fresh(leaves, cast) for leaves in old]
        if reads_params:
            old = [*old, self.params()]
        if reads is not None:
            old = [*old, self._like("reads", reads, cast=True)]
        self._stages.append(_Stage(kernel, old, new, self._scope, cast, scale))
        if self.donate:
            return [*slots]
        return [filled(self._skeleton, leaves) for leaves in new]

    def scale(self, factor: float) -> None:
        """Multiply by a number, later."""
        if self._stages and self._stages[-1].scope == self._scope:
            self._stages[-1].scale *= factor
        else:
            self._stages.append(_Stage(None, [], [], self._scope, False, factor))

    def dtypes(self) -> list[np.dtype[Any]]:
        """Those of the leaves, whatever is done to them."""
        return [self._leaves[i].dtype for i in self._inside()]

    def values(self) -> list[Array]:
        """The leaves as they are by now, for what depends on more than one element."""
        self._run(None)
        return [self._leaves[i] for i in self._inside()]

    def updates(self) -> Tree:
        """The tree as it is by now."""
        self._run(None)
        return filled(self._skeleton, self._leaves)

    def replace(self, updates: Tree) -> None:
        """Go on with other updates."""
        found = self._like("updates", updates)
        for i in self._inside():
            self._leaves[i], self._is_ours[i] = found[i], False

    def apply(self) -> Tree:
        """Add the updates to the parameters, in the same sweep."""
        params = self.params()
        new = params if self.donate else self._fresh(params)
        self._run(new)
        return self._params_tree if self.donate else filled(self._skeleton, new)

    def params(self) -> list[Any]:
        """The leaves of the parameters.

        Raises:
            TreeError: there are none.
        """
        if self._params is None:
            raise TreeError("update: params is None, expected the parameters")
        return self._params

    def params_tree(self) -> Tree:
        """The parameters that are within, or None."""
        return None if self._params is None else filled(self._skeleton, self._params)

    def _inside(self) -> list[int]:
        return [i for i in range(len(self._leaves)) if self._scope is None or i in self._scope]

    def _like(self, name: str, other: Tree, cast: bool = False) -> list[Any]:
        """The leaves of another tree by number; None for those that are not within."""
        found: list[Any] = [None] * len(self._leaves)
        try:
            pick(self._skeleton, other, found)
            if not _PLAIN.issuperset(map(type, found)):
                for path, leaf in tree.leaves_with_paths(other):
                    check_array("update", f"{name}{tree.show(path)}", leaf)
            if cast or self._scope is not None:
                for i in self._inside():
                    shape, dtype = self._kinds[i]
                    if found[i].shape != shape or (found[i].dtype != dtype and not cast):
                        raise TreeError
            elif kinds(found) != self._kinds:
                raise TreeError
        except (TreeError, KeyError, AttributeError):
            grads = filled(self._skeleton, self._leaves)
            if name == "params":
                tree.check_floats("update", name, other)
            # Gradients that fit the parameters are not to blame for a state that fits neither.
            if name == "params" or self._params is None:
                tree.check_like(self._name, grads, other)
            tree.check_like(name, other, grads)
        return found

    def _fresh(self, leaves: Column, cast: bool = False) -> Column:
        """Arrays to be filled; those of leaves that are worked on together are parts of one."""
        fresh: Column = [None] * len(self._leaves)
        for group in self._units:
            allocate(group, leaves, fresh, in_one=not cast and self._scope is None)
        return fresh

    @np.errstate(all="ignore")
    def _run(self, params: Column | None) -> None:
        """Do what is pending; then add to the parameters, if there are new ones to be filled."""
        if not self._stages and params is None:
            return
        scopes = [stage.scope for stage in self._stages if stage.scope is not None]
        for whole in self._units:
            if not scopes:
                self._run_unit(whole, self._stages, params)
                continue
            # Leaves to which the same is to be done still make a block together.
            alike: dict[tuple[bool, ...], list[int]] = {}
            for i in whole.leaves:
                alike.setdefault(tuple([i in scope for scope in scopes]), []).append(i)
            for numbers in alike.values():
                stages = [s for s in self._stages if s.scope is None or numbers[0] in s.scope]
                if stages or params is not None:
                    self._run_unit(unit(numbers, self._kinds), stages, params)
        self._stages.clear()

    def _run_unit(self, group: Unit, stages: list[_Stage], params: Column | None) -> None:
        """Do the same to all leaves of a group."""
        numbers, first = group.leaves, group.leaves[0]
        ins: list[Column] = [self._leaves]
        outs: list[Column] = []
        if params is not None:
            ins.append(self.params())
            outs.append(params)
        elif all(self._is_ours[i] for i in numbers):
            outs.append(self._leaves)
        else:
            outs.append({})
            allocate(group, self._leaves, outs[0], in_one=True)
        for stage in stages:
            ins += stage.old
            outs += stage.new
        if len(numbers) == 1:
            arrays = [column[first] for column in (*ins, *outs)]
            room: Array | None = None
            for parts in blocks(arrays, BLOCK // arrays[0].itemsize):
                room = _work(stages, parts[: len(ins)], parts[len(ins) :], params is not None, room)
        else:
            goals: list[Array] = []
            for column in outs:
                # What is fresh has been made in one piece, or not; what is ours in several sweeps.
                base = None if self.donate else column[first].base
                if (
                    base is None
                    or base.size != group.size
                    or (column is self._leaves and any(column[i].base is not base for i in numbers))
                ):
                    base = np.empty(group.size, column[first].dtype)
                goals.append(base)
            gathered = [joined(group.take(column)) for column in ins]
            _work(stages, gathered, goals, params is not None)
            for column, goal in zip(outs, goals, strict=True):
                if goal is not column[first].base:
                    scattered(goal, group.take(column), group)
        if params is None:
            for i in numbers:
                self._leaves[i], self._is_ours[i] = outs[0][i], True


class Lent(Sweep):
    """A sweep over gradients in arrays that are written to again after it."""

    def updates(self) -> Tree:
        """The tree as it is by now, in arrays of its own."""
        return tree.map(np.copy, super().updates())


def _work(
    stages: list[_Stage],
    ins: list[Array],
    outs: list[Array],
    is_applied: bool,
    room: Array | None = None,
) -> Array:
    """Take one block through all stages.

    Args:
        stages: What is to be done.
        ins: The updates, the parameters if the updates are to be added to them, and what each
            stage reads.
        outs: Where the result goes, and what each stage writes.
        is_applied: Whether the result is the sum of the two.
        room: What the last block has been worked on in.

    Returns:
        The room for the next one.
    """
    dtype, goals = ins[0].dtype, outs
    if dtype.itemsize < 4 or True in [stage.cast for stage in stages]:
        dtype = np.result_type(np.float32, *[x.dtype for x in ins])
        ins = [x.astype(dtype) for x in ins]
        outs = [np.empty(x.shape, dtype) for x in outs]
    g = ins[0]
    if room is None or room.shape[1:] != g.shape or room.dtype != dtype:
        room = np.empty((3, *g.shape), dtype)
    first, second, spare = room
    if g.ndim == 0:
        first, second, spare = np.array(first), np.array(second), np.array(spare)
    read, written = 1 + is_applied, 1
    for stage in stages:
        old = ins[read : read + len(stage.old)]
        new = outs[written : written + len(stage.new)]
        read += len(old)
        written += len(new)
        u = second if g is first else first
        if stage.kernel is not None:
            g = stage.kernel(g, u, spare, old, new)
        if stage.scale != 1:
            g = np.multiply(g, stage.scale, out=u)
    if is_applied:
        np.add(ins[1], g, out=outs[0])
    else:
        np.copyto(outs[0], g)
    if goals is not outs:
        for goal, x in zip(goals, outs, strict=True):
            np.copyto(goal, x, casting="same_kind")
    return room
