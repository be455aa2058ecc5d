"""Clipping: elementwise, leaf by leaf, or of all gradients together."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from purenn import tree
from purenn.contract import check_number
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, stateless
from purenn.tree import Tree
from purenn.typing import Array


def clip(max_delta: float | int) -> GradientTransformation:
    """Clip each element to [−δ, δ]; NaN stays.

    Args:
        max_delta: δ, finite and ≥ 0.

    Raises:
        DomainError: δ is negative or not finite.
        DtypeError: δ is no number.
    """
    delta = check_number("clip", "max_delta", max_delta, ge=0)

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        return np.clip(g, -delta, delta, out=u)

    def sweep(run: Sweep) -> None:
        run.each(kernel)

    return stateless("clip", sweep)


def clip_by_block_rms(threshold: float | int) -> GradientTransformation:
    """Shrink each leaf to a root mean square of at most τ: u·min(1, τ/√(‖u‖²/n)).

    A leaf that holds a NaN becomes NaN. In one that holds ∞, what is finite becomes 0 and ∞ NaN.

    Args:
        threshold: τ, finite and > 0.

    Raises:
        DomainError: τ is not positive or not finite.
        DtypeError: τ is no number.
    """
    bound = check_number("clip_by_block_rms", "threshold", threshold, gt=0)

    def factor(u: Array) -> float:
        return _within(bound, tree.norm(u) / math.sqrt(max(u.size, 1)))

    return stateless("clip_by_block_rms", lambda run: scale_each(run, factor))


def clip_by_global_norm(max_norm: float | int) -> GradientTransformation:
    """Shrink all leaves together to a norm of at most c: u·min(1, c/‖u‖).

    ‖u‖ is over the entries of all leaves and right at any magnitude. Where it is NaN all updates
    become NaN; where it is ∞, what is finite becomes 0 and ∞ NaN. (PyTorch's ``clip_grad_norm_``
    adds 1e-6 to ‖u‖.)

    Args:
        max_norm: c, finite and > 0.

    Raises:
        DomainError: c is not positive or not finite.
        DtypeError: c is no number.

    Pascanu, Mikolov & Bengio, *On the difficulty of training recurrent neural networks*, ICML
    2013, arXiv:1211.5063.
    """
    bound = check_number("clip_by_global_norm", "max_norm", max_norm, gt=0)

    def sweep(run: Sweep) -> None:
        factor = _within(bound, tree.norm(run.values()))
        scale_each(run, lambda u: factor)

    return stateless("clip_by_global_norm", sweep)


def scale_each(run: Sweep, factor: Callable[..., float], *rest: Tree) -> None:
    """Multiply each leaf by a number ≥ 0 that depends on all of it.

    Args:
        run: The sweep; it waits until all of the leaves are there.
        factor: The number, of a leaf and those of ``rest``; if each is 1, nothing is done.
        rest: Trees like the updates.
    """
    roots = tree.map(lambda *leaves: math.sqrt(factor(*leaves)), run.updates(), *rest)
    if all(root == 1 for root in tree.leaves(roots)):
        return

    def spread(u: Array, root: float) -> Array:
        return np.broadcast_to(np.asarray(root, np.promote_types(u.dtype, np.float32)), u.shape)

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        # In two halves: what is to be brought back from a norm beyond float32 has no normal number
        # there for a factor.
        np.multiply(g, old[0], out=u)
        return np.multiply(u, old[0], out=u)

    run.each(kernel, reads=tree.map(spread, run.updates(), roots))


def _within(bound: float, norm: float) -> float:
    return 1.0 if norm <= bound else bound / norm
