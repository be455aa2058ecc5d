"""What an optimizer is, optax's pair of pure functions, and how several make one.

    opt_state = optimizer.init(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = apply_updates(params, updates)

or the last two lines in one pass through memory::

    params, opt_state = apply_gradients(optimizer, grads, opt_state, params)
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from purenn import tree
from purenn.errors import DtypeError, TreeError
from purenn.optimizers._common import check_state
from purenn.optimizers._sweep import Sweep
from purenn.tree import Tree


class GradientTransformation(NamedTuple):
    """A pair of pure functions.

    Attributes:
        init: ``params -> opt_state``. It raises DtypeError, naming the path, where a parameter is
            no array of a floating dtype.
        update: ``(grads, opt_state, params=None, *, donate=False) -> (updates, opt_state)``. With
            ``donate`` the arrays of ``grads`` and ``opt_state`` are written to: what is returned is
            in them. It raises TreeError, ShapeError or DtypeError, naming the path, where the trees
            do not fit each other, DomainError where an array of ``opt_state`` that is donated is
            read-only or shares memory with another, and DtypeError for other keywords.
        sweep: How :func:`chain` does it in one pass through memory with its neighbours; None for
            what cannot be done so, as a pair of your own, which needs no more than
            ``update(grads, opt_state, params)``.
    """

    init: Callable[[Tree], Any]
    update: Callable[..., tuple[Tree, Any]]
    sweep: Callable[[Sweep, Any], Any] | None = None


class GradientTransformationExtraArgs(GradientTransformation):
    """One whose update needs ``value`` and ``value_and_grad_fn``, as a line search does.

    ``value`` is the loss at ``params``, and ``value_and_grad_fn`` gives the loss and the gradients
    at others, ``params -> (value, grads)``. :func:`purenn.training.train_step` passes both. In a
    chain the update is given ``donate`` as well, and whatever other keywords there are.
    """


class EmptyState(NamedTuple):
    """The state of what remembers nothing."""


def check_transformation(name: str, argument: str, value: Any) -> None:
    """Refuse what is no transformation."""
    if not isinstance(value, GradientTransformation):
        called = getattr(value, "__name__", "") if inspect.isfunction(value) else ""
        raise DtypeError(
            f"{name}: {argument} is a {type(value).__name__}, expected a GradientTransformation"
            + (f"; did you mean {called}(...)?" if called.isidentifier() else "")
        )


def check_without_extra(name: str, argument: str, value: Any) -> None:
    """Refuse what is no transformation, or needs to know more than gradients and parameters."""
    check_transformation(name, argument, value)
    if isinstance(value, GradientTransformationExtraArgs):
        raise DtypeError(
            f"{name}: {argument} is a GradientTransformationExtraArgs, whose value and "
            f"value_and_grad_fn are not those of what {name} gives it; expected another one"
        )


def check_extra(kind: type[GradientTransformation], extra: dict[str, Any]) -> None:
    """Refuse keywords that nobody would look at."""
    if extra and not issubclass(kind, GradientTransformationExtraArgs):
        raise DtypeError(
            f"update: got {sorted(extra)}, which this optimizer does not take; besides trees it "
            "takes donate"
        )


def swept(
    init: Callable[[Tree], Any],
    sweep: Callable[[Sweep, Any], Any],
    kind: type[GradientTransformation] = GradientTransformation,
) -> GradientTransformation:
    """Make a transformation of what it does in a sweep, ``(run, state) -> state``."""

    def update(
        grads: Tree, state: Any, params: Tree = None, *, donate: bool = False, **extra: Any
    ) -> tuple[Tree, Any]:
        check_extra(kind, extra)
        run = Sweep(grads, params, {"opt_state": state} if donate else None, extra)
        state = sweep(run, state)
        return run.updates(), state

    return kind(init, update, sweep)


def stateless(name: str, sweep: Callable[[Sweep], None]) -> GradientTransformation:
    """Make a transformation that remembers nothing."""

    def init(params: Tree) -> EmptyState:
        tree.check_floats(name, "params", params)
        return EmptyState()

    def advance(run: Sweep, state: EmptyState) -> EmptyState:
        check_state(name, state, EmptyState)
        sweep(run)
        return state

    return swept(init, advance)


def advance(transformation: GradientTransformation, run: Sweep, state: Any) -> Any:
    """Take part in a sweep; what cannot, gets the updates as they are by then."""
    if transformation.sweep is not None:
        return transformation.sweep(run, state)
    more: dict[str, Any] = {}
    if isinstance(transformation, GradientTransformationExtraArgs):
        more = {"donate": run.donate, **run.extra}
    updates, state = transformation.update(run.updates(), state, run.params_tree(), **more)
    run.replace(updates)
    return state


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """Several transformations, one after the other, in one pass through memory.

    The state is the tuple of their states.

    Raises:
        DtypeError: one of them is no transformation.
    """
    for i, part in enumerate(transformations):
        check_transformation("chain", f"transformations[{i}]", part)

    def init(params: Tree) -> tuple[Any, ...]:
        return tuple(part.init(params) for part in transformations)

    def sweep(run: Sweep, state: tuple[Any, ...]) -> tuple[Any, ...]:
        if type(state) is not tuple or len(state) != len(transformations):
            raise TreeError(
                f"chain: opt_state is {_told(state)}, expected a tuple of "
                f"{len(transformations)} states"
            )
        return tuple([advance(part, run, state[i]) for i, part in enumerate(transformations)])

    if any(isinstance(part, GradientTransformationExtraArgs) for part in transformations):
        return swept(init, sweep, GradientTransformationExtraArgs)
    return swept(init, sweep)


def _told(state: Any) -> str:
    return f"a tuple of {len(state)}" if type(state) is tuple else f"a {type(state).__name__}"


def identity() -> GradientTransformation:
    """Leave the updates as they are."""
    return stateless("identity", lambda run: None)


def apply_gradients(
    optimizer: GradientTransformation,
    grads: Tree,
    opt_state: Any,
    params: Tree,
    *,
    donate: bool = False,
    **extra: Any,
) -> tuple[Tree, Any]:
    """``optimizer.update`` and :func:`apply_updates` in one pass through memory.

    Args:
        optimizer: Whose step is taken.
        grads: Gradients, a tree like ``params``.
        opt_state: The state of the optimizer.
        params: Parameters.
        donate: Whether the arrays of ``opt_state`` and ``params``, and where need be those of
            ``grads``, are written to, so that no others of their size are allocated.
        extra: What a GradientTransformationExtraArgs wants to know besides.

    Returns:
        ``(params, opt_state)`` after the step.

    Raises:
        TreeError, ShapeError, DtypeError: the trees do not fit; the message names the path.
        DtypeError: ``optimizer`` is none, or does not take ``extra``.
        DomainError: an array that is donated is read-only, or shares memory with another: nothing
            has been written by then.
    """
    check_transformation("apply_gradients", "optimizer", optimizer)
    check_extra(type(optimizer), extra)
    donated = {"opt_state": opt_state, "params": params} if donate else None
    run = Sweep(grads, params, donated, extra)
    opt_state = advance(optimizer, run, opt_state)
    return run.apply(), opt_state


def apply_updates(params: Tree, updates: Tree, *, donate: bool = False) -> Tree:
    """``params + updates``, leaf by leaf; with ``donate`` in the arrays of ``params``.

    Raises:
        TreeError, ShapeError, DtypeError: the trees do not fit; the message names the path.
        DomainError: an array of ``params`` is read-only, or shares memory with another.
    """
    return Sweep(updates, params, {"params": params} if donate else None, name="updates").apply()
