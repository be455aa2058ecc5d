"""Optimizers, as in optax: the same names, the same defaults, the same numbers.

An optimizer is a pair of pure functions::

    opt_state = optimizer.init(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = apply_updates(params, updates)

Symbols: g gradient, η learning rate, p parameter, t = 1, 2, … the number of the step. Parameters,
gradients and states are trees of arrays; an update has the dtype of its parameter.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from purenn import tree
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.tree import Tree
from purenn.typing import Array


class GradientTransformation(NamedTuple):
    """What an optimizer is.

    Attributes:
        init: ``params -> opt_state``.
        update: ``(grads, opt_state, params=None) -> (updates, opt_state)``. It raises TreeError,
            ShapeError or DtypeError, naming the path, when ``grads`` do not fit the state.
    """

    init: Callable[[Tree], Any]
    update: Callable[..., tuple[Tree, Any]]


class EmptyState(NamedTuple):
    """The state of an optimizer that remembers nothing."""


class TraceState(NamedTuple):
    """The state of momentum: a decaying sum of the gradients so far."""

    trace: Tree


class ScaleByAdamState(NamedTuple):
    """The state of Adam: the number of steps (int32) and the moving averages of g and g²."""

    count: Array  # type: ignore[assignment]  # optax's name hides tuple.count
    mu: Tree
    nu: Tree


def apply_updates(params: Tree, updates: Tree) -> Tree:
    """``params + updates``, leaf by leaf.

    Raises:
        TreeError, ShapeError, DtypeError: the trees do not fit; the message names the path.
    """
    tree.check_like("updates", updates, params)
    return tree.map(lambda p, u: np.asarray(p + u), params, updates)


def sgd(
    learning_rate: float, momentum: float | None = None, nesterov: bool = False
) -> GradientTransformation:
    """Stochastic gradient descent, with or without momentum μ.

    =====================  =====================================
    plain                  p ← p − ηg
    momentum               v ← μv + g,  p ← p − ηv
    momentum, nesterov     v ← μv + g,  p ← p − η(g + μv)
    =====================  =====================================

    This is the form of PyTorch and optax, where v is a sum of gradients and the rate multiplies
    it afterwards. In Sutskever's and Keras' form, v ← μv − ηg and p ← p + v, v is a sum of
    steps. The two agree as long as η is constant; when η changes, the steps already in v keep
    their old rate there and take the new one here. Nesterov's look-ahead is folded into the
    step, so that the gradient is taken at p itself.

    Args:
        learning_rate: η, finite and not negative.
        momentum: μ in [0, 1).
        nesterov: Look ahead by one step of momentum; needs ``momentum``.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number.

    Sutskever, Martens, Dahl & Hinton, *On the importance of initialization and momentum in deep
    learning*, ICML 2013. Nesterov, Doklady AN SSSR 269 (1983).
    """
    rate = _learning_rate("sgd", learning_rate)
    if momentum is None:
        if nesterov:
            raise DomainError("sgd: nesterov looks ahead by the momentum, which is None")

        def step(grads: Tree, state: EmptyState, params: Tree = None) -> tuple[Tree, EmptyState]:
            _check_state("sgd", state, EmptyState)
            return tree.map(lambda g: _scaled(g, -rate), grads), state

        return GradientTransformation(lambda params: EmptyState(), step)

    decay = _decay("sgd", "momentum", momentum)

    def update(grads: Tree, state: TraceState, params: Tree = None) -> tuple[Tree, TraceState]:
        _check_state("sgd", state, TraceState)
        tree.check_like("grads", grads, state.trace)

        def accumulate(g: Array, v: Array) -> Array:
            new = _scaled(v, decay)
            new += g
            return new

        def look_ahead(g: Array, v: Array) -> Array:
            ahead = accumulate(g, v)
            ahead *= -rate
            return ahead

        trace = tree.map(accumulate, grads, state.trace)
        if nesterov:
            updates = tree.map(look_ahead, grads, trace)
        else:
            updates = tree.map(lambda v: _scaled(v, -rate), trace)
        return updates, TraceState(trace)

    return GradientTransformation(lambda params: TraceState(tree.zeros_like(params)), update)


def adam(
    learning_rate: float,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> GradientTransformation:
    """Adam: each parameter's step is scaled by the recent size of its own gradient.

    m ← β₁m + (1 − β₁)g,   m̂ = m/(1 − β₁ᵗ)
    v ← β₂v + (1 − β₂)g²,  v̂ = v/(1 − β₂ᵗ)
    p ← p − η·m̂/(√(v̂ + eps_root) + eps)

    The corrections are moved out of the arrays into scalars, as the end of the paper's section 2
    proposes: with c = √(1 − β₂ᵗ) the step is η·c/(1 − β₁ᵗ) · m/(√(v + c²·eps_root) + c·eps).
    ``eps`` still stands outside the root *after* the correction, as in the paper's algorithm 1,
    PyTorch and optax; Keras and TensorFlow add it to √v before the correction (the paper's ε̂).

    Args:
        learning_rate: η, finite and not negative; the paper proposes 0.001.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0.
        eps_root: Added inside the root, ≥ 0.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number.

    Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980.
    """
    rate = _learning_rate("adam", learning_rate)
    b1, b2 = _decay("adam", "b1", b1), _decay("adam", "b2", b2)
    eps, eps_root = _not_negative("adam", "eps", eps), _not_negative("adam", "eps_root", eps_root)

    def init(params: Tree) -> ScaleByAdamState:
        for path, leaf in tree.leaves_with_paths(params):
            if leaf.dtype.itemsize < 4:
                raise DtypeError(
                    f"adam: params{tree.show(path)} has dtype {leaf.dtype}, in which ε is 0; "
                    "expected float32 or float64"
                )
        return ScaleByAdamState(
            np.zeros((), np.int32), tree.zeros_like(params), tree.zeros_like(params)
        )

    def update(
        grads: Tree, state: ScaleByAdamState, params: Tree = None
    ) -> tuple[Tree, ScaleByAdamState]:
        _check_state("adam", state, ScaleByAdamState)
        tree.check_like("grads", grads, state.mu)
        count = int(state.count) + 1
        c = math.sqrt(1 - b2**count)
        scale = -rate * c / (1 - b1**count)

        def average(g: Array, m: Array) -> Array:
            new = _scaled(g, 1 - b1)
            new += _scaled(m, b1)
            return new

        def average_square(g: Array, v: Array) -> Array:
            new = _scaled(g, 1 - b2)
            new *= g
            new += _scaled(v, b2)
            return new

        def step(m: Array, v: Array) -> Array:
            inside = v + c * c * eps_root if eps_root else v
            root = np.asarray(np.sqrt(inside))
            root += c * eps
            np.divide(m, root, out=root)
            root *= scale
            return root

        mu = tree.map(average, grads, state.mu)
        nu = tree.map(average_square, grads, state.nu)
        return tree.map(step, mu, nu), ScaleByAdamState(np.asarray(count, np.int32), mu, nu)

    return GradientTransformation(init, update)


def _scaled(x: Array, factor: float) -> Array:
    """Multiply by a number; the result is an array also where ``x`` has no dimension."""
    return np.asarray(x * factor, x.dtype)


def _check_state(name: str, state: object, expected: type) -> None:
    """Refuse the state of another optimizer."""
    if not isinstance(state, expected):
        raise TreeError(
            f"{name}: opt_state is a {type(state).__name__}, expected {expected.__name__}"
        )


def _check_number(name: str, argument: str, value: object) -> None:
    if not isinstance(value, Real):
        raise DtypeError(f"{name}: {argument} is a {type(value).__name__}, expected a number")


def _learning_rate(name: str, value: Any) -> float:
    _check_number(name, "learning_rate", value)
    if not 0 <= value < math.inf:
        raise DomainError(f"{name}: learning_rate is {value}, expected finite and ≥ 0")
    return float(value)


def _decay(name: str, argument: str, value: Any) -> float:
    _check_number(name, argument, value)
    if not 0 <= value < 1:
        raise DomainError(f"{name}: {argument} is {value}, expected ≥ 0 and < 1")
    return float(value)


def _not_negative(name: str, argument: str, value: Any) -> float:
    _check_number(name, argument, value)
    if not 0 <= value < math.inf:
        raise DomainError(f"{name}: {argument} is {value}, expected finite and ≥ 0")
    return float(value)
