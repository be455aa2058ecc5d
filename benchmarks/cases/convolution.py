"""Convolution forward and backward, 3 × 3, beside the matrix products that it must do."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks import on_jax
from benchmarks.turns import Rivals, Run
from purenn.ops import convolution

SHAPES = [
    ((32, 10, 10, 1), 16),
    ((32, 10, 10, 16), 32),
    ((64, 34, 34, 3), 32),
    ((64, 18, 18, 32), 64),
    ((16, 34, 34, 64), 64),
]


def rivals(shape: tuple[int, ...], out: int, padding: str) -> Rivals:
    """Y, dx and dkernel from the same numbers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(3, 3, shape[-1], out)).astype(np.float32)
    y = convolution.conv(x, kernel, padding=padding)
    dy = rng.normal(size=y.shape).astype(np.float32)

    def ours() -> object:
        y, pullback = convolution.conv_vjp(x, kernel, padding=padding)
        return y, pullback(dy)

    return {
        "purenn": lambda: ours,
        "bare products": lambda: _products(y.size // out, 9 * shape[-1], out),
        **on_jax.rivals(partial(_jitted, x, kernel, dy, padding)),
        "PyTorch": lambda: _torch(x, kernel, dy, padding),
    }


def _products(places: int, window: int, out: int) -> Run:
    """The three products of the copied windows, in memory that is there already."""
    rng = np.random.default_rng(0)
    columns, weights, y = (
        rng.normal(size=size).astype(np.float32)
        for size in ((places, window), (window, out), (places, out))
    )
    dcolumns, dweights = np.empty_like(columns), np.empty_like(weights)

    def run() -> None:
        np.matmul(columns, weights, out=y)
        np.matmul(columns.T, y, out=dweights)
        np.matmul(y, weights.T, out=dcolumns)

    return run


def _jitted(x: Any, kernel: Any, dy: Any, padding: str, device: Any) -> Run:
    import jax

    from reference.ops.convolution import conv

    def both(x: Any, kernel: Any, dy: Any) -> Any:
        y, pullback = jax.vjp(lambda x, kernel: conv(x, kernel, padding=padding), x, kernel)
        return y, pullback(dy)

    return on_jax.compiled(device, both, x, kernel, dy)


def _torch(x: Any, kernel: Any, dy: Any, padding: str) -> Run:
    import torch

    images, filters, cotangent = (
        torch.tensor(a.transpose(order).copy())
        for a, order in ((x, (0, 3, 1, 2)), (kernel, (3, 2, 0, 1)), (dy, (0, 3, 1, 2)))
    )
    images.requires_grad_()
    filters.requires_grad_()

    def run() -> object:
        y = torch.nn.functional.conv2d(images, filters, padding=padding.lower())
        return y, torch.autograd.grad(y, (images, filters), cotangent)

    return run


CASES = {
    f"{shape} to {out}, {padding}": partial(rivals, shape, out, padding)
    for shape, out in SHAPES
    for padding in ("VALID", "SAME")
}
