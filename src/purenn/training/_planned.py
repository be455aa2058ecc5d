"""Loss and gradient of a model by its plan: the same bits, sooner."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from purenn.contract import Kinds, kinds_of_tree, remember
from purenn.layers import Layer, vjp_of
from purenn.ops._plans import Plan, plan_of
from purenn.optimizers._layout import Layout, layout, spread
from purenn.typing import Array, Params

R = TypeVar("R")

SMALL = 2**20
"""Bytes of inputs and parameters together up to which a plan is made: what it keeps is as small."""

Ready: TypeAlias = Callable[[Params, Array, Array], tuple[Any, "Gradient"]]
"""``(params, inputs, targets) -> (mean loss, gradient)``, for one thread at a time."""


class Gradient(NamedTuple):
    """A gradient in one vector, which is written to again by the next step."""

    vector: Array
    tree: Params
    """Parts of the vector."""
    layout: Layout


class Plans:
    """Those of a model and a loss, by the shapes and dtypes that they are for."""

    def __init__(self, model: Layer, loss: Callable[..., Array]) -> None:
        """None is made yet."""
        self._model, self._loss = model, loss
        self._known: dict[Kinds | None, list[Ready]] = {}
        self._large: Kinds | None = None
        """Of the last large model: there is one plan at most, that for it."""

    def find(
        self, params: Any, state: Any, batch: Any, use: Callable[[Any, Gradient], R]
    ) -> R | None:
        """What ``use`` makes of the mean loss and its gradient; None if there is no plan."""
        idle = self._known.get(self._kinds(params, state, batch))
        if not idle:  # or another thread is at work with it
            return None
        try:
            ready = idle.pop()
        except IndexError:
            return None
        try:
            return use(*ready(params, *batch))
        finally:
            idle.append(ready)

    @np.errstate(all="ignore")
    def make(self, params: Any, state: Any, batch: Any, *, any_size: bool = False) -> None:
        """Make a plan for arguments that have passed all checks, unless it has been tried.

        That of a large model is made if ``any_size`` and at the second batch of its kind in a row,
        so that no memory is kept for one that comes once an epoch.
        """
        kinds = self._kinds(params, state, batch)
        if kinds is None or kinds in self._known:
            return
        its_layout = layout(params)
        if its_layout is not None and its_layout.nbytes + batch[0].nbytes > SMALL:
            if not any_size:
                return
            last, self._large = self._large, kinds
            if last != kinds:
                return
            self._known = {}
        ready = None
        if its_layout is not None:
            ready = _ready(self._model, self._loss, its_layout, params, *batch)
        remember(self._known, kinds, [] if ready is None else [ready], most=8)

    def _kinds(self, params: Any, state: Any, batch: Any) -> Kinds | None:
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


def _ready(
    model: Layer,
    loss: Callable[..., Array],
    like: Layout,
    params: Params,
    inputs: Array,
    targets: Array,
) -> Ready | None:
    """Make a plan for arguments that fit; None where the model has none."""
    if model.plan is None or like.dtype != inputs.dtype:
        return None
    plan = model.plan(params, inputs)
    if plan is None:
        return None
    plan.forward(params, inputs)
    of_loss = _plan_of_loss(loss, plan.y, targets)
    losses = of_loss.y
    shares = np.full(losses.shape, 1 / losses.size, np.promote_types(losses.dtype, np.float32))
    dlosses = shares.astype(losses.dtype, copy=False)
    dy = np.empty_like(plan.y)
    vector = np.empty(like.size, like.dtype)
    gradient = Gradient(vector, spread(vector, like), like)

    def run(params: Params, inputs: Array, targets: Array) -> tuple[Any, Gradient]:
        plan.forward(params, inputs)
        of_loss.forward(plan.y, targets)
        of_loss.backward(plan.y, targets, dlosses, dy, None)
        plan.backward(params, inputs, dy, gradient.tree, None)
        total = np.add.reduce(shares * losses, axis=None)
        return total if total.dtype is losses.dtype else total.astype(losses.dtype), gradient

    return run


def _plan_of_loss(loss: Callable[..., Array], outputs: Array, targets: Array) -> Plan:
    planner = plan_of(loss)
    plan = None if planner is None else planner(outputs, targets)
    if plan is not None:
        return plan
    loss_vjp = vjp_of(loss)
    y = np.empty_like(loss_vjp(outputs, targets)[0])
    pullback: Callable[[Array], tuple[Array, Any]]

    def forward(outputs: Array, targets: Array) -> None:
        nonlocal pullback
        losses, pullback = loss_vjp(outputs, targets)
        np.copyto(y, losses)

    def backward(outputs: Array, targets: Array, dy: Array, doutputs: Array, _: None) -> None:
        np.copyto(doutputs, pullback(dy)[0])

    return Plan(y, forward, backward)
