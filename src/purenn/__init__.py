"""Neural networks as pure functions over parameter dicts, every derivative written by hand.

The parts load when they are first used, so ``import purenn`` itself costs nothing::

    purenn.ops          rules: f and f_vjp, arrays in, arrays out
    purenn.layers       (init, forward, vjp) over a parameter dict
    purenn.optimizers   (init, update)
    purenn.diagnostics  what to look at in gradients, weights and activations
    purenn.regularizers penalties on the size of parameters
    purenn.schedules    step -> value; (state, score) -> (state, rate)
    purenn.training     objective, train_step, fit, evaluate and what else stands around a loop
    purenn.data         readers, generated sets, augmentation
    purenn.checkpoints  a TrainState in a file and back, bit for bit
    purenn.verify       the examiner of hand-written derivatives
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from purenn import (
        checkpoints,
        data,
        diagnostics,
        errors,
        initializers,
        layers,
        ops,
        optimizers,
        random,
        regularizers,
        schedules,
        training,
        tree,
        typing,
        verify,
    )

__version__ = "0.1.0"

__all__ = [
    "checkpoints",
    "data",
    "diagnostics",
    "errors",
    "initializers",
    "layers",
    "ops",
    "optimizers",
    "random",
    "regularizers",
    "schedules",
    "training",
    "tree",
    "typing",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"purenn.{name}")
    raise AttributeError(f"module 'purenn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
