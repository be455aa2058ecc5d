"""A training step, forward, gradient and Adam, beside its bare matrix products and its rivals."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks import networks, on_jax
from benchmarks.turns import Rivals, Run

NETWORKS = [
    ((64, 32, 10), 32),
    ((64, 128, 64, 10), 64),
    ((784, 128, 10), 128),
    ((784, 512, 512, 10), 128),
    ((784, 1024, 1024, 10), 512),
]


def rivals(widths: networks.Widths, size: int) -> Rivals:
    """Of one multilayer perceptron."""
    arrays, shape = networks.batch(widths, size), widths[:1]
    make = partial(networks.dense, widths=widths)
    return {
        "purenn": lambda: networks.ours(make, shape, arrays, donate=True),
        "purenn, arrays kept": lambda: networks.ours(make, shape, arrays),
        "bare products": lambda: networks.bare_products(widths, size),
        "plain NumPy": lambda: networks.plain_step(widths, arrays),
        **on_jax.rivals(partial(networks.jitted, make, shape, arrays)),
        "PyTorch": lambda: networks.torch_step(widths, arrays),
        "PyTorch compiled": lambda: networks.torch_step(widths, arrays, compiled=True),
        "autograd": lambda: networks.autograd_step(widths, arrays),
    }


def cnn(library: Any) -> Any:
    """A small network for the digits."""
    return library.serial(
        conv0=library.conv(16, (3, 3)),
        act0=library.relu,
        conv1=library.conv(32, (3, 3)),
        act1=library.relu,
        pool=library.max_pool((2, 2), strides=(2, 2)),
        flat=library.flatten,
        hidden=library.dense(64),
        act2=library.relu,
        out=library.dense(10),
    )


def digits_cnn() -> Rivals:
    """Of ``cnn``, with 64 digits of 8 × 8 pixels."""
    inputs = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype(np.float32)
    arrays = inputs, np.random.default_rng(1).integers(0, 10, 64).astype(np.int32)
    shape = (8, 8, 1)
    return {
        "purenn": lambda: networks.ours(cnn, shape, arrays, donate=True),
        **on_jax.rivals(partial(networks.jitted, cnn, shape, arrays)),
        "PyTorch": lambda: _torch_cnn(arrays),
    }


def _torch_cnn(arrays: Any) -> Run:
    import torch

    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    return networks.torch_model_step(model, (arrays[0].transpose(0, 3, 1, 2).copy(), arrays[1]))


CASES = {
    **{
        f"{'-'.join(map(str, widths))}, batch {size}": partial(rivals, widths, size)
        for widths, size in NETWORKS
    },
    "digits CNN": digits_cnn,
}
