"""Constraints on parameters, kept by the last transformation of a chain."""

from typing import Any

import numpy as np

from purenn import tree
from purenn.contract import check_number, unchecked
from purenn.errors import ShapeError
from purenn.ops._numerics import at_least_single
from purenn.ops.normalization import max_norm as shrunk
from purenn.optimizers._blocks import BLOCK
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, stateless
from purenn.optimizers.masking import Mask, masked_by
from purenn.regularizers import is_weight
from purenn.tree import Path
from purenn.typing import Array


def keep_max_norm(max_norm: float | int = 2.0, mask: Mask = is_weight) -> GradientTransformation:
    """Turn u into u′ so that in w = p + u′ each unit has incoming weights of ‖w‖₂ ≤ c.

    Where a unit of p + u has a norm above c, w is its projection (p + u)·c/‖p + u‖; elsewhere u′
    is u. The incoming weights of a unit are all but the last axis of its kernel: the rule
    :func:`purenn.ops.max_norm`. It belongs at the end of a chain, where u is what is added to p.

    Args:
        max_norm: c, finite and > 0; the paper uses 2 to 4.
        mask: The leaves that are constrained; by default kernels and embeddings. See
            :data:`purenn.optimizers.Mask`.

    Raises:
        DomainError: c is not positive or not finite.
        DtypeError: c is no number.
        TreeError: the update raises it where it is given no parameters, and ShapeError where a
            leaf that is chosen has no axes; the message has its path.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, *Dropout: a simple way to prevent
    neural networks from overfitting*, JMLR 15 (2014), section 5.1.
    """
    name = "keep_max_norm"
    bound = check_number(name, "max_norm", max_norm, gt=0)

    def passed(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        return g

    @np.errstate(all="ignore")
    def project(path: Path, p: Array, u: Array) -> None:
        if p.ndim == 0:
            raise ShapeError(f"{name}: params{tree.show(path)} has no axes, expected at least one")
        width = max(1, BLOCK // p.itemsize * p.shape[-1] // max(1, p.size))
        for start in range(0, p.shape[-1], width):
            units = np.s_[..., start : start + width]
            moved = at_least_single(p[units]) + at_least_single(u[units])
            rows = np.divide(moved, bound, dtype=np.float64).reshape(-1, moved.shape[-1])
            if np.all(np.einsum("io,io->o", rows, rows) < 0.99):
                continue  # as most units are, well inside: the rule itself takes longer to say so
            kept = unchecked(shrunk)(moved, max_value=bound)
            np.copyto(u[units], kept - p[units], where=kept != moved, casting="same_kind")

    def sweep(run: Sweep) -> None:
        run.params()
        # What has been through a kernel is in memory that may be written to.
        run.each(passed)
        tree.map_with_path(project, run.params_tree(), run.updates())

    return masked_by(name, "mask", stateless(name, sweep), mask)
