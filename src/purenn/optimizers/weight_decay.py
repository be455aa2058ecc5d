"""Weight decay: a part of each parameter added to its update."""

from typing import Any, NamedTuple

import numpy as np

from purenn import tree
from purenn.optimizers._common import (
    ScalarOrSchedule,
    check_scalar_or_schedule,
    check_state,
    counted,
    scalar_at,
    steps,
    zero,
)
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import EmptyState, GradientTransformation, swept
from purenn.optimizers.masking import Mask, masked_by
from purenn.tree import Tree
from purenn.typing import Array


class WeightDecaySchedule(NamedTuple):
    """How many steps were taken, int32."""

    count: Array  # type: ignore[assignment]


def add_decayed_weights(
    weight_decay: ScalarOrSchedule = 0.0, mask: Mask | None = None
) -> GradientTransformation:
    """u ← u + λp.

    Before an optimizer's scaling it is the gradient of ½λp², as PyTorch's ``weight_decay`` of SGD
    and Adam; after it, the decoupled decay of AdamW.

    Args:
        weight_decay: λ, a number or a schedule of it, finite and ≥ 0.
        mask: The leaves that decay; all, if None. See :data:`purenn.optimizers.Mask`.

    Raises:
        DomainError: λ is negative or not finite; the update raises it where a schedule gives such.
        DtypeError: λ is neither a number nor a function.
        TreeError: the update raises it where it is given no parameters.

    Krogh & Hertz, *A simple weight decay can improve generalization*, NIPS 1991; Loshchilov &
    Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101.
    """
    name = "add_decayed_weights"
    check_scalar_or_schedule(name, "weight_decay", weight_decay)
    expected = WeightDecaySchedule if callable(weight_decay) else EmptyState

    def init(params: Tree) -> Any:
        tree.check_floats(name, "params", params)
        return WeightDecaySchedule(zero()) if callable(weight_decay) else EmptyState()

    def sweep(run: Sweep, state: Any) -> Any:
        check_state(name, state, expected)
        count = steps(name, state.count) if callable(weight_decay) else 0
        factor = scalar_at(name, "weight_decay", weight_decay, count)

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (p,) = old
            np.multiply(p, factor, out=u)
            return np.add(g, u, out=u)

        run.params()
        if factor:
            run.each(kernel, reads_params=True)
        return WeightDecaySchedule(counted(count + 1)) if callable(weight_decay) else state

    decayed = swept(init, sweep)
    return decayed if mask is None else masked_by(name, "mask", decayed, mask)
