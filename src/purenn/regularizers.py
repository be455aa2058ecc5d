"""Penalties on the size of parameters, for :func:`purenn.training.objective`.

    objective(model, loss, regularizer=l2(1e-4))

A penalty is laid on chosen leaves of the parameter tree: unless told otherwise on the weights, by
their names, and not on biases or scales.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn import tree
from purenn.contract import check_array, check_floating, check_number
from purenn.errors import DtypeError
from purenn.ops._numerics import narrow
from purenn.tree import Path
from purenn.typing import Array, Params

Where: TypeAlias = Callable[[Path], bool]


class Regularizer(NamedTuple):
    """A penalty and its gradient, as pure functions of the parameters.

    Attributes:
        loss: ``params -> penalty``, a float64 scalar.
        grad: ``params -> grads``, a tree like ``params``, 0 at the leaves that are not chosen.

    Both raise DtypeError where a leaf is no array of a floating dtype; the message has its path.
    """

    loss: Callable[[Params], Any]
    grad: Callable[[Params], Params]


def is_weight(path: Path) -> bool:
    """Whether the leaf is called ``kernel`` or ``embedding``."""
    return path[-1:] in (("kernel",), ("embedding",))


def l1(scale: float | int, *, where: Where = is_weight) -> Regularizer:
    """λΣ|W|, which makes weights exactly 0.

    The gradient is λ·sgn(W). At the kink W = 0 it is 0, halfway between both sides: what is 0 is
    left there. (``jnp.abs`` takes the right side, λ.)

    Args:
        scale: λ, finite and ≥ 0.
        where: The leaves that are penalized, by the path that leads to them.

    Raises:
        DomainError: ``scale`` is negative or not finite.
        DtypeError: ``scale`` is no number, or ``where`` no function.
    """
    return _elastic("l1", check_number("l1", "scale", scale, ge=0), 0.0, where)


def l2(scale: float | int, *, where: Where = is_weight) -> Regularizer:
    """λΣW², with gradient 2λW: the convention of Keras and of *Neural Networks from Scratch*.

    :func:`half_l2` is the other convention. The arguments and what is raised are those of
    :func:`l1`.
    """
    return _elastic("l2", 0.0, check_number("l2", "scale", scale, ge=0), where)


def half_l2(scale: float | int, *, where: Where = is_weight) -> Regularizer:
    """½λΣW², with gradient λW: the convention of cs231n, and of weight decay under plain descent.

    :func:`l2` is the other convention. The arguments and what is raised are those of :func:`l1`.
    """
    return _elastic("half_l2", 0.0, check_number("half_l2", "scale", scale, ge=0) / 2, where)


def elastic_net(l1: float | int, l2: float | int, *, where: Where = is_weight) -> Regularizer:
    """λ₁Σ|W| + λ₂ΣW², with gradient λ₁·sgn(W) + 2λ₂W: :func:`l1` and :func:`l2` together.

    Zou & Hastie, *Regularization and variable selection via the elastic net*, J. R. Statist. Soc.
    B 67 (2005).

    Args:
        l1: λ₁, finite and ≥ 0.
        l2: λ₂, finite and ≥ 0.
        where: The leaves that are penalized, by the path that leads to them.

    Raises:
        DomainError: ``l1`` or ``l2`` is negative or not finite.
        DtypeError: one of them is no number, or ``where`` no function.
    """
    absolute = check_number("elastic_net", "l1", l1, ge=0)
    square = check_number("elastic_net", "l2", l2, ge=0)
    return _elastic("elastic_net", absolute, square, where)


def _elastic(name: str, absolute: float, square: float, where: Where) -> Regularizer:
    """A term whose weight is 0 is left out: it is 0 for an infinite W too."""
    if not callable(where):
        raise DtypeError(f"{name}: where is {where!r}, expected a function of a path")

    def wide(path: Path, leaf: Any) -> Array:
        argument = f"params{tree.show(path)}"
        check_array(name, argument, leaf)
        check_floating(name, argument, leaf)
        found: Array = leaf.astype(np.float64, copy=False)
        return found

    @np.errstate(over="ignore")
    def loss(params: Params) -> Any:
        total = np.float64(0)

        def add(path: Path, leaf: Any) -> None:
            nonlocal total
            size = np.abs(wide(path, leaf))
            if absolute and where(path):
                total += np.sum(absolute * size)
            if square and where(path):
                total += np.sum(square * size * size)

        tree.map_with_path(add, params)
        return total

    @np.errstate(over="ignore")
    def slope(path: Path, leaf: Any) -> Array:
        w, dw = wide(path, leaf), np.zeros(leaf.shape)
        if absolute and where(path):
            dw = dw + absolute * np.sign(w)
        if square and where(path):
            dw = dw + 2 * (square * w)
        return narrow(dw, leaf)

    def grad(params: Params) -> Params:
        grads: Params = tree.map_with_path(slope, params)
        return grads

    return Regularizer(loss, grad)
