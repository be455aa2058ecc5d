"""An examination by ``purenn verify`` beside the checks of JAX and PyTorch, at the same coverage.

All three have as many inputs of the same shapes and the same keyword arguments, in float64: those
that the examiner draws, empty ones among them. What is examined is the derivative in reverse.

- ``purenn verify`` compares value and cotangents, entry by entry, with the exact derivative and
  with JAX's compiled one. It asks for ⟨dy, J·v⟩ = ⟨Jᵀdy, v⟩ in two directions v, linearity, the
  same bits again, and does it at numbers that hurt. Drawing them is part of its time.
- ``check_grads`` in mode ``rev`` compares ⟨dy, J·v⟩ with ⟨Jᵀdy, v⟩ in one direction v, where J·v
  is estimated by finite differences.
- ``gradcheck`` compares all of J with finite differences, but not in forward mode.

The two are given normal numbers: finite differences are no judge of others.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.turns import Rivals, Run

COUNT = 40

Inputs = list[tuple[list[Any], dict[str, Any]]]
"""Arrays and keyword arguments."""


def rivals(module: str, name: str, torch_rule: Callable[..., Any]) -> Rivals:
    """Of one rule."""
    return {
        "purenn": lambda: _examine(module, name),
        "JAX check_grads": lambda: _check_grads(module, name),
        "PyTorch gradcheck": lambda: _gradcheck(module, name, torch_rule),
    }


def rule(module: str, name: str) -> Any:
    """The rule with its reference."""
    from purenn import verify

    found = verify.discover(f"purenn.ops.{module}", against=f"reference.ops.{module}")
    (its,) = (each for each in found if each.name == name)
    return its


def inputs(module: str, name: str) -> Inputs:
    """Normal numbers in the shapes that the examiner draws."""
    import jax

    from purenn.verify import annotations, record, trial
    from purenn.verify.examine import annotated

    its = rule(module, name)
    signature = annotations.signature(annotated(its), {}, its.cases)
    drawn = trial.Trial(
        its, signature, "float64", jax.devices("cpu")[:1], record.Record("float64"), float("inf")
    )
    trial.run(drawn, COUNT, seed=0, kept=None, shrink=False)
    rng = np.random.default_rng(0)
    return [
        (
            [rng.normal(size=hole.shape) for hole in structure.arrays],
            {option: fixed.value for option, fixed in structure.static},
        )
        for structure, *_ in drawn.seen
    ]


def _examine(module: str, name: str) -> Run:
    from purenn import verify

    its = rule(module, name)
    return lambda: verify.check(its, dtypes=["float64"], examples=COUNT, kept=None)


def _check_grads(module: str, name: str) -> Run:
    import jax
    from jax.test_util import check_grads

    function, given = rule(module, name).reference, inputs(module, name)

    def run() -> None:
        with jax.enable_x64(True):
            for arrays, options in given:
                on_cpu = [jax.numpy.asarray(x, device=jax.devices("cpu")[0]) for x in arrays]
                check_grads(partial(function, **options), on_cpu, order=1, modes=["rev"])

    return run


def _gradcheck(module: str, name: str, function: Callable[..., Any]) -> Run:
    import torch

    given = inputs(module, name)

    def run() -> None:
        for arrays, options in given:
            # Of an empty array NumPy's strides are 0, which gradcheck refuses.
            tensors = [torch.empty(x.shape).double().copy_(torch.tensor(x)) for x in arrays]
            for tensor in tensors:
                tensor.requires_grad_()
            torch.autograd.gradcheck(partial(function, **options), tensors)

    return run


def _torch_log_softmax(x: Any, *, axis: int | None = -1) -> Any:
    import torch

    if axis is None:
        return torch.log_softmax(x.flatten(), 0).reshape(x.shape)
    return torch.log_softmax(x, axis)


def _torch_gelu(x: Any, *, approximate: bool = True) -> Any:
    import torch

    return torch.nn.functional.gelu(x, approximate="tanh" if approximate else "none")


def _torch_dense(x: Any, kernel: Any, bias: Any) -> Any:
    return x @ kernel + bias


CASES = {
    "log_softmax": partial(rivals, "activations", "log_softmax", _torch_log_softmax),
    "gelu": partial(rivals, "activations", "gelu", _torch_gelu),
    "dense": partial(rivals, "linear", "dense", _torch_dense),
}
