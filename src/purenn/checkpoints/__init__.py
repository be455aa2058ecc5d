"""Checkpoints: trees of arrays in safetensors files that are whole, or refused.

    save_step("run", int(state.step), state, {"epoch": 3}, keep=3, best=True)
    state, metadata = load(steps("run")[0], like=state)

A ``TrainState`` holds all that a run goes on from, so a run that is resumed gives the same bits as
one that never stopped. A file is read without executing anything in it; one that was cut off,
changed, or is something else raises a :class:`CheckpointError`. Flax' parameters load with
:func:`load_flax`.

This needs ``pip install 'purenn[train]'``.
"""

from purenn.checkpoints.flax import load_flax
from purenn.checkpoints.folder import BEST, save_step, steps
from purenn.checkpoints.saving import Checkpoint, fitted, load, read, save
from purenn.errors import CheckpointError

__all__ = [
    "BEST",
    "Checkpoint",
    "CheckpointError",
    "fitted",
    "load",
    "load_flax",
    "read",
    "save",
    "save_step",
    "steps",
]
