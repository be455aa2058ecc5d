"""Loss and gradient of a model by a plan: the same bits, sooner."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from purenn import tree
from purenn.contract import Kinds, kinds_of_tree, remember
from purenn.layers import Layer, vjp_of
from purenn.ops._plans import Call, loud, plan_by_vjp, plan_of, quietly, run
from purenn.optimizers._blocks import PACK
from purenn.optimizers._layout import Layout, layout, spread
from purenn.optimizers._together import Gradient, Memory, vector_of
from purenn.typing import Array, Params

R = TypeVar("R")
T = TypeVar("T")

SMALL = 2**20
"""Bytes that a program for few parameters may keep."""


class Program(NamedTuple):
    """Loss and gradient as NumPy calls upon fixed arrays, for one thread at a time."""

    inputs: Array
    targets: Array
    calls: list[Call]
    is_loud: bool
    """Whether some of them may warn."""
    total: Array
    """Where the mean loss will be, in float32 at least."""
    dtype: np.dtype[Any]
    """That of the losses."""
    gradient: Gradient
    nbytes: int
    """Those of all arrays that it keeps."""

    def take(self, batch: Any, use: Callable[[Any, Gradient], R]) -> R:
        """What ``use`` makes of the mean loss and its gradient."""
        return (_take_loudly if self.is_loud else _take)(self, batch, use)

    def loss(self, inputs: Array, targets: Array) -> Any:
        """The mean loss; the gradient is there then, too."""
        np.copyto(self.inputs, inputs)
        np.copyto(self.targets, targets)
        run(self.calls)
        total = self.total[()]
        return total if total.dtype is self.dtype else total.astype(self.dtype)


@np.errstate(all="ignore")
def _take(program: Program, batch: Any, use: Callable[[Any, Gradient], R]) -> R:
    return use(program.loss(*batch), program.gradient)


def _take_loudly(program: Program, batch: Any, use: Callable[[Any, Gradient], R]) -> R:
    loss = program.loss(*batch)
    with np.errstate(all="ignore"):
        return use(loss, program.gradient)


def _one_of(idle: list[T] | None) -> T | None:
    """Take one away; None if there is none, or other threads are at work with all."""
    try:
        return idle.pop() if idle else None
    except IndexError:
        return None


class Plans:
    """Programs for few parameters, which are copied, by the shapes and dtypes that they are for."""

    def __init__(self, model: Layer, loss: Callable[..., Array]) -> None:
        """None is made yet."""
        self.model, self.loss = model, loss
        self._known: dict[Kinds | None, list[tuple[Array, Program]]] = {}

    def find(
        self,
        params: Any,
        state: Any,
        batch: Any,
        use: Callable[..., R],
        memory: Memory | None = None,
    ) -> R | None:
        """``use(loss, gradient, params=vector)``; None if there is no program."""
        idle = self._known.get(_kinds(params, state, batch))
        found = _one_of(idle)
        if idle is None or found is None:
            return None
        its_params, program = found
        try:
            vector = vector_of(params, program.gradient.layout, memory)
            np.copyto(its_params, vector.values)
            return program.take(batch, partial(use, params=vector))
        finally:
            idle.append(found)

    def make(self, params: Any, state: Any, batch: Any) -> None:
        """Make a program for arguments that have passed all checks, unless it has been tried."""
        kinds = _kinds(params, state, batch)
        if kinds is None or kinds in self._known:
            return
        like = layout(params)
        found: list[tuple[Array, Program]] = []
        if like is not None and like.nbytes <= PACK and batch[0].nbytes <= SMALL:
            its_params = vector_of(params, like).values.copy()
            program = _program(self.model, self.loss, spread(its_params, like), like, *batch)
            if program is not None and program.nbytes <= SMALL:
                found = [(its_params, program)]
        remember(self._known, kinds, found, most=8)


class InPlace:
    """A program for many parameters that stay in the same arrays from step to step.

    It keeps as much memory as a step needs; so there is only one at a time.
    """

    def __init__(self, model: Layer, loss: Callable[..., Array]) -> None:
        """There is none yet."""
        self._model, self._loss = model, loss
        self._last = _Last(None, [])

    def find(
        self, params: Any, state: Any, batch: Any, use: Callable[[Any, Gradient], R]
    ) -> R | None:
        """What ``use`` makes of the mean loss and its gradient; None if there is no program.

        It is made for the second batch of a kind in a row, so that there is none for what comes
        only once in an epoch.
        """
        last = self._last
        if not last.are(_kinds(params, state, batch), params):
            self._last = _Last(None, [])  # what comes now needs the memory
            return None
        if not last.is_tried:
            last.is_tried = True
            like = layout(params)
            if like is not None and like.nbytes > PACK:
                made = _program(self._model, self._loss, params, like, *batch)
                last.idle += [] if made is None else [made]
        program = _one_of(last.idle)
        if program is None:
            return None
        try:
            return program.take(batch, use)
        finally:
            last.idle.append(program)

    def remember(self, params: Any, state: Any, batch: Any) -> None:
        """Know arguments that have passed all checks, for which there may be a program now."""
        kinds = _kinds(params, state, batch)
        if not self._last.are(kinds, params):
            self._last = _Last(kinds, tree.leaves(params))


@dataclass(slots=True)
class _Last:
    """What the last step was for."""

    kinds: Kinds | None
    leaves: list[Any]
    idle: list[Program] = field(default_factory=list)
    """The program for these leaves, unless a thread is at work with it."""
    is_tried: bool = False

    def are(self, kinds: Kinds | None, params: Any) -> bool:
        """Whether these are the same."""
        if kinds is None or kinds != self.kinds:
            return False
        leaves = zip(tree.leaves(params), self.leaves, strict=True)
        return all(leaf is known for leaf, known in leaves)


def _kinds(params: Any, state: Any, batch: Any) -> Kinds | None:
    """All that a plan depends on; None where there is more than arrays in dicts."""
    if type(params) is not dict or type(state) is not dict or state:
        return None
    if not isinstance(batch, list | tuple):
        return None
    if len(batch) != 2:
        return None
    inputs, targets = batch
    if type(inputs) is not np.ndarray or type(targets) is not np.ndarray:
        return None
    found = [inputs.shape, inputs.dtype, targets.shape, targets.dtype]
    return (*found,) if kinds_of_tree(params, found) else None


def _program(
    model: Layer,
    loss: Callable[..., Array],
    params: Params,
    like: Layout,
    inputs: Array,
    targets: Array,
) -> Program | None:
    """Make one for parameters in these arrays.

    None where the model has no plan, or refuses this batch: so will the rules, and say why.
    """
    try:
        return _made(model, loss, params, like, inputs, targets)
    except Exception:
        return None


@np.errstate(all="ignore")
def _made(
    model: Layer,
    loss: Callable[..., Array],
    params: Params,
    like: Layout,
    inputs: Array,
    targets: Array,
) -> Program | None:
    if model.plan is None or like.dtype != inputs.dtype or not targets.dtype.isnative:
        return None
    inputs, targets = inputs.copy("C"), targets.copy("C")
    plan = model.plan(params, inputs)
    if plan is None:
        return None
    run(plan.forward)
    planner = plan_of(loss)
    of_loss = None if planner is None else planner(plan.y, targets)
    if of_loss is None:
        of_loss = plan_by_vjp(vjp_of(loss), plan.y, targets)
    losses = of_loss.y
    weights = np.full(losses.shape, 1 / losses.size, np.promote_types(losses.dtype, np.float32))
    shares, total = np.empty_like(weights), np.empty((), weights.dtype)
    dlosses, dy = weights.astype(losses.dtype, copy=False), np.empty_like(plan.y)
    vector = np.empty(like.size, like.dtype)
    gradient = Gradient(vector, spread(vector, like), like, [])
    calls: list[Call] = [
        *plan.forward,
        *of_loss.forward,
        (np.multiply, (weights, losses, shares)),
        (np.add.reduce, (shares, None, None, total)),
        *of_loss.backward(dlosses, dy, None),
        *plan.backward(dy, gradient.tree, None),
    ]
    is_loud = any(function is loud for function, _ in calls)
    its_calls = quietly(calls) if is_loud else calls
    arrays = [x for _, arguments in calls for x in arguments if isinstance(x, np.ndarray)]
    owners = {id(its): its.nbytes for x in arrays for its in [x if x.base is None else x.base]}
    nbytes = sum(owners.values())
    return Program(inputs, targets, its_calls, is_loud, total, losses.dtype, gradient, nbytes)
