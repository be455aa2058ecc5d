"""Penalties on the size of parameters, for :func:`purenn.training.objective`.

    objective(model, loss, regularizer=l2(1e-4))

A penalty is laid on chosen leaves of the parameter tree: unless told otherwise on the weights, by
their names, and not on biases or scales.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn import tree
from purenn.errors import DomainError, DtypeError
from purenn.ops._numerics import narrow
from purenn.tree import Path
from purenn.typing import Array, Params

Where: TypeAlias = Callable[[Path], bool]


class Regularizer(NamedTuple):
    """A penalty and its gradient, as pure functions of the parameters.

    Attributes:
        loss: ``params -> penalty``, a float64 scalar.
        grad: ``params -> grads``, a tree like ``params``, 0 at the leaves that are not chosen.
    """

    loss: Callable[[Params], Any]
    grad: Callable[[Params], Params]


def is_weight(path: Path) -> bool:
    """Whether the leaf is called ``kernel`` or ``embedding``."""
    return path[-1:] in (("kernel",), ("embedding",))


def l1(scale: float, *, where: Where = is_weight) -> Regularizer:
    """λΣ|W|, which makes weights exactly 0.

    The gradient is λ·sgn(W). At the kink W = 0 it is 0, halfway between both sides: what is 0 is
    left there. (``jnp.abs`` takes the right side, λ.)

    Args:
        scale: λ, finite and ≥ 0.
        where: The leaves that are penalized, by the path that leads to them.

    Raises:
        DomainError: ``scale`` is negative or not finite.
        DtypeError: ``scale`` is no number.
    """
    return _elastic(_not_negative("l1", "scale", scale), 0.0, where)


def l2(scale: float, *, where: Where = is_weight) -> Regularizer:
    """λΣW², with gradient 2λW: the convention of Keras and of *Neural Networks from Scratch*.

    :func:`half_l2` is the other convention. The arguments and what is raised are those of
    :func:`l1`.
    """
    return _elastic(0.0, _not_negative("l2", "scale", scale), where)


def half_l2(scale: float, *, where: Where = is_weight) -> Regularizer:
    """½λΣW², with gradient λW: the convention of cs231n, and of weight decay under plain descent.

    :func:`l2` is the other convention. The arguments and what is raised are those of :func:`l1`.
    """
    return _elastic(0.0, _not_negative("half_l2", "scale", scale) / 2, where)


def elastic_net(l1: float, l2: float, *, where: Where = is_weight) -> Regularizer:
    """λ₁Σ|W| + λ₂ΣW², with gradient λ₁·sgn(W) + 2λ₂W: :func:`l1` and :func:`l2` together.

    Zou & Hastie, *Regularization and variable selection via the elastic net*, J. R. Statist. Soc.
    B 67 (2005).

    Args:
        l1: λ₁, finite and ≥ 0.
        l2: λ₂, finite and ≥ 0.
        where: The leaves that are penalized, by the path that leads to them.

    Raises:
        DomainError: ``l1`` or ``l2`` is negative or not finite.
        DtypeError: one of them is no number.
    """
    absolute = _not_negative("elastic_net", "l1", l1)
    return _elastic(absolute, _not_negative("elastic_net", "l2", l2), where)


def _elastic(absolute: float, square: float, where: Where) -> Regularizer:
    def penalty(leaf: Array) -> Any:
        size = np.abs(leaf.astype(np.float64, copy=False))
        with np.errstate(over="ignore"):
            return np.sum(size * (absolute + square * size))

    def slope(path: Path, leaf: Array) -> Array:
        if not where(path):
            return np.zeros_like(leaf)
        wide = leaf.astype(np.float64, copy=False)
        with np.errstate(over="ignore"):
            return narrow(absolute * np.sign(wide) + 2 * square * wide, leaf)

    def loss(params: Params) -> Any:
        chosen = (leaf for path, leaf in tree.leaves_with_paths(params) if where(path))
        return sum(map(penalty, chosen), start=np.float64(0))

    def grad(params: Params) -> Params:
        grads: Params = tree.map_with_path(slope, params)
        return grads

    return Regularizer(loss, grad)


def _not_negative(name: str, argument: str, value: object) -> float:
    if not isinstance(value, Real):
        raise DtypeError(f"{name}: {argument} is a {type(value).__name__}, expected a number")
    if not 0 <= float(value) < math.inf:
        raise DomainError(f"{name}: {argument} is {value}, expected finite and ≥ 0")
    return float(value)
