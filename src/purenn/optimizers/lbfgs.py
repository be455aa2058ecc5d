"""L-BFGS: the curvature along the last few steps, and a step that satisfies the Wolfe conditions.

A full-batch run, with the objective as one function of the parameters::

    optimizer = lbfgs()
    opt_state = optimizer.init(params)
    evaluate = value_and_grad_from_state(value_and_grad_fn)
    for _ in range(100):
        value, grads = evaluate(params, state=opt_state)
        updates, opt_state = optimizer.update(
            grads, opt_state, params, value=value, value_and_grad_fn=value_and_grad_fn
        )
        params = apply_updates(params, updates)
"""

import math
import sys
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn import tree
from purenn.contract import check_floating, check_function, check_integer, check_number
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.optimizers._common import (
    ScalarOrSchedule,
    check_bools,
    check_state,
    counted,
    full_like,
    scalar_at,
    steps,
    zero,
)
from purenn.optimizers._donation import check_donated
from purenn.optimizers.base import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    apply_updates,
    check_extra,
)
from purenn.optimizers.line_search import LineSearchResult, wolfe_line_search
from purenn.schedules._step import without_dimensions
from purenn.tree import Path, Tree
from purenn.typing import Array

ValueAndGrad: TypeAlias = Callable[[Tree], tuple[Any, Tree]]


class ScaleByLBFGSState(NamedTuple):
    """What L-BFGS remembers; row k mod ``memory_size`` of a memory is that of step k.

    Attributes:
        count: The number of steps, int32.
        params: The parameters of the last one.
        updates: The gradient at these.
        diff_params_memory: The differences s of successive parameters.
        diff_updates_memory: The differences y of successive gradients.
        weights_memory: ρ = 1/⟨s, y⟩, or 0 for a row that does not count, float64.
    """

    count: Array  # type: ignore[assignment]  # optax's name hides tuple.count
    params: Tree
    updates: Tree
    diff_params_memory: Tree
    diff_updates_memory: Tree
    weights_memory: Array


class LBFGSState(NamedTuple):
    """The state of :func:`lbfgs`.

    Attributes:
        memory: What it remembers; its parameters are those that the last step has led to.
        value: The objective there, for the batch of that step; ∞ before the first step.
        learning_rate: The length of the step in directions, 0 if nothing better was found.
        evaluations: How often that step has evaluated the objective, int32.
    """

    memory: ScaleByLBFGSState
    value: Array
    learning_rate: Array
    evaluations: Array


def scale_by_lbfgs(
    memory_size: int = 10, scale_init_precond: bool = True
) -> GradientTransformation:
    """Multiply the gradient by an approximate inverse Hessian: g ↦ H·g.

    H is γ·I, updated with each remembered pair s = p₊ − p, y = g₊ − g, from old to new, by

        H ← (I − ρ·s·yᵀ)·H·(I − ρ·y·sᵀ) + ρ·s·sᵀ,   ρ = 1/⟨s, y⟩

    after which H·y = s. With γ = ⟨s, y⟩/‖y‖² of the newest pair, or 1/max(1, ‖g‖) where there is
    none, the product takes about 4·memory_size·n multiplications and no matrix (the first paper's
    two loops). Inner products are in float64, whatever the dtype of the parameters.

    A pair with ⟨s, y⟩ ≤ ε·‖s‖·‖y‖ (ε = 2⁻⁵²) does not count, so that H stays positive definite.
    optax lets all count but those with ⟨s, y⟩ = 0, and climbs where the curvature is negative; its
    γ is 1 where g has not changed.

    Args:
        memory_size: How many pairs are remembered, ≥ 1.
        scale_init_precond: Whether γ is as above; otherwise it is 1.

    Raises:
        DomainError: ``memory_size`` is less than 1.
        DtypeError: ``memory_size`` is no int, or ``scale_init_precond`` no bool.

    Nocedal, *Updating quasi-Newton matrices with limited storage*, Math. Comp. 35 (1980). Liu &
    Nocedal, *On the limited memory BFGS method for large scale optimization*, Math. Program. 45
    (1989).
    """
    init = _init("scale_by_lbfgs", memory_size, scale_init_precond)

    @np.errstate(all="ignore")
    def update(
        grads: Tree,
        state: ScaleByLBFGSState,
        params: Tree = None,
        *,
        donate: bool = False,
        **extra: Any,
    ) -> tuple[Tree, ScaleByLBFGSState]:
        check_extra(GradientTransformation, extra)
        check_state("scale_by_lbfgs", state, ScaleByLBFGSState)
        count = steps("scale_by_lbfgs", state.count)
        tree.check_like("grads", grads, state.updates)
        tree.check_floats("scale_by_lbfgs", "params", params)
        tree.check_like("params", params, state.params)
        if donate:
            check_donated({"opt_state": state}, kept=tree.leaves(params))
        state = _observe(state, params, grads, donate)
        updates = _tree(_product(state, _flat(tree.leaves(grads)), scale_init_precond), grads)
        return updates, state._replace(count=counted(count + 1))

    return GradientTransformation(init, update)


def lbfgs(
    learning_rate: ScalarOrSchedule | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: Callable[..., LineSearchResult] = wolfe_line_search,
) -> GradientTransformationExtraArgs:
    """L-BFGS: p ← p − α·H·g, with H of :func:`scale_by_lbfgs` and α of a line search.

    Its update takes two more arguments: ``value``, the objective at ``params``, of which ``grads``
    is the gradient, and ``value_and_grad_fn``, ``params -> (value, grads)``, the same objective
    elsewhere. Both gradients of a pair are those of one call of update, so that a pair tells of
    curvature, and not of what distinguishes the batches of two steps (optax takes the difference
    of one step's gradient and the next one's).

    The value never rises by more than the rounding that ``linesearch`` allows for, with the ε of
    the least precise parameter. A step that finds nothing better is 0 and forgets the pairs, so
    that the next one goes along the gradient, as one does whose direction does not descend.

    Args:
        learning_rate: The first α that is tried, > 0, or a schedule of it; ``None`` is 1, Newton's
            own.
        memory_size: How many pairs are remembered, ≥ 1.
        scale_init_precond: Whether H starts from the scale of the newest pair.
        linesearch: :func:`wolfe_line_search`, or this with other options by
            ``functools.partial``.

    Raises:
        DomainError: an argument lies outside its domain; in update: ``value`` or a gradient is not
            finite, and the message has the path.
        DtypeError: an argument has not its type.
    """
    first = _init("lbfgs", memory_size, scale_init_precond)
    rate = 1.0 if learning_rate is None else learning_rate
    if not callable(rate):
        check_number("lbfgs", "learning_rate", without_dimensions(rate), gt=0)
    check_function("lbfgs", "linesearch", linesearch)

    def init(params: Tree) -> LBFGSState:
        return LBFGSState(first(params), np.asarray(np.inf), np.zeros(()), zero())

    @np.errstate(all="ignore")  # far out, a step may overflow
    def update(
        grads: Tree,
        state: LBFGSState,
        params: Tree = None,
        *,
        value: Any,
        value_and_grad_fn: ValueAndGrad,
        donate: bool = False,
        **extra: Any,
    ) -> tuple[Tree, LBFGSState]:
        check_state("lbfgs", state, LBFGSState)
        check_function("lbfgs", "value_and_grad_fn", value_and_grad_fn)
        count = steps("lbfgs", state.memory.count)
        tree.check_like("grads", grads, state.memory.updates)
        tree.check_floats("lbfgs", "params", params)
        tree.check_like("params", params, state.memory.params)
        if donate:
            check_donated({"opt_state": state}, kept=tree.leaves(params))
        tree.map_with_path(_check_finite, grads)
        value = check_number("lbfgs", "value", _number("value", value))
        gradient = _flat(tree.leaves(grads))
        memory = state.memory._replace(params=params, updates=grads)
        direction = [-x for x in _product(memory, gradient, scale_init_precond)]
        if not _dot(gradient, direction) < 0:
            direction = [-x for x in _product(_forget(memory), gradient, scale_init_precond)]
        slope = _dot(gradient, direction)

        def at(step: float) -> tuple[float, float, tuple[Tree, Tree, Tree]]:
            updates = _tree([step * x for x in direction], params)
            point = apply_updates(params, updates)
            found, its_grads = value_and_grad_fn(point)
            tree.check_like("grads of value_and_grad_fn", its_grads, params)
            its_slope = _dot(_flat(tree.leaves(its_grads)), direction)
            return (
                _number("value of value_and_grad_fn", found),
                its_slope,
                (updates, point, its_grads),
            )

        end = LineSearchResult(0.0, value, slope, 0, "none", None)
        if -math.inf < slope < 0:
            first_step = scalar_at("lbfgs", "learning_rate", rate, count)
            check_number("lbfgs", f"learning_rate({count})", first_step, gt=0)
            eps = max(float(np.spacing(np.ones((), x.dtype))) for x in gradient)
            end = linesearch(at, value, slope, init_step=first_step, eps=eps)
        updates, point, its_grads = end.aux or (tree.zeros_like(params), params, grads)
        memory = _observe(memory._replace(count=counted(count + 1)), point, its_grads, donate)
        if end.evaluations and not end.step:
            memory = _forget(memory)
        value_there, step = np.asarray(end.value), np.asarray(end.step)
        return updates, LBFGSState(memory, value_there, step, counted(end.evaluations))

    return GradientTransformationExtraArgs(init, update)


def value_and_grad_from_state(value_and_grad_fn: ValueAndGrad) -> Callable[..., tuple[Any, Tree]]:
    """``evaluate(params, state=opt_state) -> (value, grads)``, from the state where they are known.

    A step of :func:`lbfgs` has evaluated the objective where it ends. If ``params`` are those,
    nothing is computed again. The caller answers for the rest: that it is the same objective, on
    the same batch.
    """
    check_function("value_and_grad_from_state", "value_and_grad_fn", value_and_grad_fn)

    def evaluate(params: Tree, *, state: LBFGSState) -> tuple[Any, Tree]:
        check_state("value_and_grad_from_state", state, LBFGSState)
        tree.check_like("params", params, state.memory.params)
        pairs = zip(tree.leaves(params), tree.leaves(state.memory.params), strict=True)
        if np.isfinite(state.value) and all(np.array_equal(x, y) for x, y in pairs):
            return state.value[()], state.memory.updates
        return value_and_grad_fn(params)

    return evaluate


def _init(
    name: str, memory_size: int, scale_init_precond: bool
) -> Callable[[Tree], ScaleByLBFGSState]:
    size = check_integer(name, "memory_size", memory_size, least=1)
    check_bools(name, scale_init_precond=scale_init_precond)

    def init(params: Tree) -> ScaleByLBFGSState:
        return ScaleByLBFGSState(
            count=zero(),
            params=full_like(name, params),
            updates=full_like(name, params),
            diff_params_memory=tree.map(rows, params),
            diff_updates_memory=tree.map(rows, params),
            weights_memory=np.zeros(size),
        )

    def rows(leaf: Array) -> Array:
        return np.zeros((size, *leaf.shape), leaf.dtype)

    return init


def _observe(
    state: ScaleByLBFGSState, params: Tree, grads: Tree, donate: bool
) -> ScaleByLBFGSState:
    """Remember the pair that leads from the state's parameters to these, and stay here."""
    row = (int(state.count) - 1) % len(state.weights_memory)
    memories = state.diff_params_memory, state.diff_updates_memory, state.weights_memory
    if not donate:
        memories = tree.map(np.copy, memories)
    if state.count > 0:
        here, there = (state.params, state.updates), (params, grads)
        pair = tree.map(lambda x, y: np.asarray(y - x), here, there)
        for memory, leaf in zip(tree.leaves(memories[:2]), tree.leaves(pair), strict=True):
            memory[row] = leaf
        memories[2][row] = _weight(*[_flat(tree.leaves(part)) for part in pair])
    return state._replace(
        params=tree.map(np.copy, params),  # the caller's own may be donated to the next step
        updates=tree.map(np.copy, grads),
        diff_params_memory=memories[0],
        diff_updates_memory=memories[1],
        weights_memory=memories[2],
    )


def _forget(state: ScaleByLBFGSState) -> ScaleByLBFGSState:
    return state._replace(weights_memory=np.zeros_like(state.weights_memory))


def _weight(s: list[Array], y: list[Array]) -> float:
    """ρ, or 0 if the curvature along s is not positive."""
    curvature = _dot(s, y)
    if not curvature > sys.float_info.epsilon * tree.norm(s) * tree.norm(y):
        return 0.0
    weight = 1 / curvature
    return weight if math.isfinite(weight) else 0.0


def _product(state: ScaleByLBFGSState, gradient: list[Array], scale_init_precond: bool) -> Any:
    """H·g, leaf by leaf, flat and in float64."""
    size = len(state.weights_memory)
    rows = [(int(state.count) + i) % size for i in range(size)]
    rho = {row: float(state.weights_memory[row]) for row in rows if state.weights_memory[row]}
    memories = tree.leaves(state.diff_params_memory), tree.leaves(state.diff_updates_memory)
    s, y = [{row: _flat([leaf[row, ...] for leaf in every]) for row in rho} for every in memories]
    product = [g.astype(np.float64) for g in gradient]
    alphas = {}
    for row in reversed(rho):
        alphas[row] = rho[row] * _dot(s[row], product)
        _add(product, -alphas[row], y[row])
    if scale_init_precond and rho:
        newest = next(reversed(rho))
        norm = tree.norm(y[newest])
        _scale(product, 1 / (rho[newest] * norm) / norm)
    elif scale_init_precond:
        _scale(product, 1 / max(1.0, tree.norm(gradient)))
    for row in rho:
        _add(product, alphas[row] - rho[row] * _dot(y[row], product), s[row])
    return product


def _flat(leaves: list[Array]) -> list[Array]:
    return [leaf.reshape(-1) for leaf in leaves]


def _scale(product: list[Array], factor: float) -> None:
    for x in product:
        x *= factor


def _blocks(left: list[Array], right: list[Array]) -> Iterator[tuple[Array, Array]]:
    """The same parts of both, which stay in the cache; the right one's in float64.

    Longer dot products OpenBLAS shares among threads, and their bits depend on how many there are.
    """
    for x, y in zip(left, right, strict=True):
        for start in range(0, x.size, 8192):
            part = slice(start, start + 8192)
            yield x[part], y[part].astype(np.float64, copy=False)


def _add(product: list[Array], factor: float, leaves: list[Array]) -> None:
    for x, leaf in _blocks(product, leaves):
        x += factor * leaf


def _dot(left: list[Array], right: list[Array]) -> float:
    """The inner product of all leaves, in float64."""
    return sum(
        (float(np.dot(x.astype(y.dtype, copy=False), y)) for x, y in _blocks(left, right)), 0.0
    )


def _tree(leaves: list[Array], like: Tree) -> Tree:
    """Flat leaves as a tree, with the structure, the shapes and the dtypes of another."""
    paths = [path for path, _ in tree.leaves_with_paths(like)]
    found = dict(zip(paths, leaves, strict=True))
    return tree.map_with_path(
        lambda path, leaf: found[path].reshape(leaf.shape).astype(leaf.dtype, copy=False), like
    )


def _number(argument: str, value: Any) -> float:
    """A value as it comes out of an objective: a number, or a floating scalar of NumPy."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | np.generic | np.ndarray):
        raise DtypeError(f"lbfgs: {argument} is a {type(value).__name__}, expected a number")
    if isinstance(value, Real):
        return float(value)
    scalar = np.asarray(value)
    check_floating("lbfgs", argument, scalar)
    if scalar.shape:
        raise ShapeError(f"lbfgs: {argument} has shape {scalar.shape}, expected ()")
    return float(scalar)


def _check_finite(path: Path, grad: Array) -> None:
    if not np.isfinite(grad).all():
        raise DomainError(f"lbfgs: grads{tree.show(path)} is not finite: nothing descends")
