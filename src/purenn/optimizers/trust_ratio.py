"""Layer-wise rates: steps in proportion to the norm of what they change, LARS and LAMB."""

from purenn import tree
from purenn.contract import check_number
from purenn.optimizers._common import ScalarOrSchedule
from purenn.optimizers._sweep import Sweep
from purenn.optimizers.adam import scale_by_adam
from purenn.optimizers.base import GradientTransformation, chain, stateless
from purenn.optimizers.clipping import scale_each
from purenn.optimizers.masking import Mask, masked_by
from purenn.optimizers.momentum import trace
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.optimizers.weight_decay import add_decayed_weights
from purenn.typing import Array


def scale_by_trust_ratio(
    min_norm: float | int = 0.0, trust_coefficient: float | int = 1.0, eps: float | int = 0.0
) -> GradientTransformation:
    """Multiply each leaf by its trust ratio: u·κ‖p‖/(‖u‖ + ε), or u itself where a norm is 0.

    Args:
        min_norm: The least that each of the norms counts for, ≥ 0.
        trust_coefficient: κ ≥ 0.
        eps: ε ≥ 0.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number.
        TreeError: the update raises it where it is given no parameters.
    """
    name = "scale_by_trust_ratio"
    least = check_number(name, "min_norm", min_norm, ge=0)
    coefficient = check_number(name, "trust_coefficient", trust_coefficient, ge=0)
    eps = check_number(name, "eps", eps, ge=0)

    def ratio(u: Array, p: Array) -> float:
        size_of_p, size_of_u = max(tree.norm(p), least), max(tree.norm(u), least)
        if size_of_p == 0 or size_of_u == 0:
            return 1.0
        return coefficient * size_of_p / (size_of_u + eps)

    def sweep(run: Sweep) -> None:
        run.params()
        scale_each(run, ratio, run.params_tree())

    return stateless(name, sweep)


def lars(
    learning_rate: ScalarOrSchedule,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask = True,
    trust_coefficient: float | int = 0.001,
    eps: float | int = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: float | int = 0.9,
    nesterov: bool = False,
) -> GradientTransformation:
    """Gradient descent with momentum and a rate per leaf, for large batches.

    d = g + λp
    v ← μv − η·κ‖p‖/(‖d‖ + ε)·d
    p ← p + v

    The paper's algorithm 1 has ‖g‖ + λ‖p‖ in the place of ‖d‖, as far as there is weight decay.
    A leaf whose norm, or that of whose d is 0 has the ratio 1.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        weight_decay: λ, a number or a schedule of it, finite and ≥ 0.
        weight_decay_mask: The leaves that decay. See :data:`purenn.optimizers.Mask`.
        trust_coefficient: κ ≥ 0.
        eps: ε ≥ 0.
        trust_ratio_mask: The leaves that have a rate of their own; biases and scales often do not.
        momentum: μ in [0, 1).
        nesterov: Look ahead by one step of momentum.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool.
        TreeError: the update raises it where it is given no parameters.

    You, Gitman & Ginsburg, *Large batch training of convolutional networks*, arXiv:1708.03888.
    """
    check_number("lars", "momentum", momentum, ge=0, lt=1)
    decay = add_decayed_weights(weight_decay)
    ratio = scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps)
    return chain(
        masked_by("lars", "weight_decay_mask", decay, weight_decay_mask),
        masked_by("lars", "trust_ratio_mask", ratio, trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )


def lamb(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-6,
    eps_root: float | int = 0.0,
    weight_decay: ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
) -> GradientTransformation:
    """:func:`purenn.optimizers.adamw` with a rate per leaf, for large batches.

    d = m̂/(√(v̂ + eps_root) + ε) + λp
    p ← p − η·‖p‖/‖d‖·d

    This is the paper's algorithm 2 with φ(‖p‖) = ‖p‖. A leaf whose norm, or that of whose d is 0
    has the ratio 1.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0.
        eps_root: Added inside the root, ≥ 0.
        weight_decay: λ, a number or a schedule of it, finite and ≥ 0.
        mask: The leaves that decay; all, if None. See :data:`purenn.optimizers.Mask`.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number.
        TreeError: the update raises it where it is given no parameters.

    You et al., *Large batch optimization for deep learning: training BERT in 76 minutes*, ICLR
    2020, arXiv:1904.00962.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )
