"""Loss and gradient of a model by a plan: the same bits, sooner."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from purenn import tree
from purenn.contract import Kinds, kinds_of_tree, remember
from purenn.layers import Layer, vjp_of
from purenn.ops._plans import Call, Plan, plan_of, run
from purenn.optimizers._blocks import PACK
from purenn.optimizers._layout import Layout, layout, spread
from purenn.optimizers._together import Gradient, Memory, Vector, vector_of
from purenn.typing import Array, Params

R = TypeVar("R")

SMALL = 2**20
"""Bytes of inputs up to which a plan is made for few parameters: what it keeps is as small."""


class Program(NamedTuple):
    """Loss and gradient as NumPy calls upon fixed arrays, for one thread at a time."""

    inputs: Array
    targets: Array
    calls: list[Call]
    shares: Array
    """What each loss is multiplied by, to be added up."""
    losses: Array
    gradient: Gradient

    def loss(self, inputs: Array, targets: Array) -> Any:
        """The mean loss; the gradient is there then, too."""
        np.copyto(self.inputs, inputs)
        np.copyto(self.targets, targets)
        run(self.calls)
        total = np.add.reduce(self.shares, axis=None)
        dtype = self.losses.dtype
        return total if total.dtype is dtype else total.astype(dtype)


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
        use: Callable[[Any, Gradient, Vector], R],
        memory: Memory | None = None,
    ) -> R | None:
        """What ``use`` makes of the mean loss, its gradient and the parameters, as vectors.

        None if there is no program.
        """
        idle = self._known.get(_kinds(params, state, batch))
        if not idle:  # or another thread is at work with it
            return None
        try:
            its_params, program = idle.pop()
        except IndexError:
            return None
        try:
            vector = vector_of(params, program.gradient.layout, memory)
            np.copyto(its_params, vector.values)
            return use(program.loss(*batch), program.gradient, vector)
        finally:
            idle.append((its_params, program))

    @np.errstate(all="ignore")
    def make(self, params: Any, state: Any, batch: Any) -> None:
        """Make a program for arguments that have passed all checks, unless it has been tried."""
        kinds = _kinds(params, state, batch)
        if kinds is None or kinds in self._known:
            return
        like = layout(params)
        found: list[tuple[Array, Program]] = []
        if like is not None and like.nbytes <= PACK and like.nbytes + batch[0].nbytes <= SMALL:
            its_params = vector_of(params, like).values.copy()
            program = _program(self.model, self.loss, spread(its_params, like), like, *batch)
            found = [] if program is None else [(its_params, program)]
        remember(self._known, kinds, found, most=8)


class InPlace:
    """A program for many parameters that stay in the same arrays from step to step.

    It keeps as much memory as a step needs; so there is only one at a time.
    """

    def __init__(self, model: Layer, loss: Callable[..., Array]) -> None:
        """There is none yet."""
        self._model, self._loss = model, loss
        self._last = _Last(None, [], [])

    def find(
        self, params: Any, state: Any, batch: Any, use: Callable[[Any, Gradient], R]
    ) -> R | None:
        """What ``use`` makes of the mean loss and its gradient; None if there is no program."""
        last = self._last
        if not last.idle or not last.are(_kinds(params, state, batch), params):
            return None
        try:
            program = last.idle.pop()
        except IndexError:
            return None
        try:
            return use(program.loss(*batch), program.gradient)
        finally:
            last.idle.append(program)

    @np.errstate(all="ignore")
    def make(self, params: Any, state: Any, batch: Any) -> None:
        """Make a program for arguments that have passed all checks.

        It is made for the second batch of a kind in a row, so that there is none for what comes
        only once in an epoch.
        """
        kinds = _kinds(params, state, batch)
        if not self._last.are(kinds, params):
            self._last = _Last(kinds, tree.leaves(params), [])
        elif (like := layout(params)) is not None and like.nbytes > PACK:
            program = _program(self._model, self._loss, params, like, *batch)
            self._last.idle[:] = [] if program is None else [program]


class _Last(NamedTuple):
    """What the last step was for."""

    kinds: Kinds | None
    leaves: list[Any]
    idle: list[Program]
    """The program for these leaves, unless a thread is at work with it."""

    def are(self, kinds: Kinds | None, params: Any) -> bool:
        """Whether these are the same."""
        if kinds is None or kinds != self.kinds:
            return False
        leaves = zip(tree.leaves(params), self.leaves, strict=True)
        return all(leaf is known for leaf, known in leaves)


def _kinds(params: Any, state: Any, batch: Any) -> Kinds | None:
    """All that a plan depends on; None where there is more than arrays in dicts."""
    if type(params) is not dict or state != {} or not isinstance(batch, list | tuple):
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
    """Make one for parameters in these arrays; None where the model has no plan."""
    if model.plan is None or like.dtype != inputs.dtype:
        return None
    inputs, targets = inputs.copy("C"), targets.copy("C")
    plan = model.plan(params, inputs)
    if plan is None:
        return None
    run(plan.forward)
    of_loss = _plan_of_loss(loss, plan.y, targets)
    losses = of_loss.y
    weights = np.full(losses.shape, 1 / losses.size, np.promote_types(losses.dtype, np.float32))
    shares = np.empty_like(weights)
    dlosses, dy = weights.astype(losses.dtype, copy=False), np.empty_like(plan.y)
    vector = np.empty(like.size, like.dtype)
    gradient = Gradient(vector, spread(vector, like), like, [])
    calls: list[Call] = [
        *plan.forward,
        *of_loss.forward,
        (np.multiply, (weights, losses, shares)),
        *of_loss.backward(dlosses, dy, None),
        *plan.backward(dy, gradient.tree, None),
    ]
    return Program(inputs, targets, calls, shares, losses, gradient)


def _plan_of_loss(loss: Callable[..., Array], outputs: Array, targets: Array) -> Plan:
    planner = plan_of(loss)
    plan = None if planner is None else planner(outputs, targets)
    if plan is not None:
        return plan
    loss_vjp = vjp_of(loss)
    y = np.empty_like(loss_vjp(outputs, targets)[0])
    pullback: Callable[[Array], tuple[Array, Any]]

    def forward() -> None:
        nonlocal pullback
        losses, pullback = loss_vjp(outputs, targets)
        np.copyto(y, losses)

    def backward(dy: Array, doutputs: Array, _: None) -> list[Call]:
        return [(lambda: np.copyto(doutputs, pullback(dy)[0]), ())]

    return Plan(y, [(forward, ())], backward)
