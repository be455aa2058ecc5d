"""Training steps of one network in several libraries, from the same numbers."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.turns import Run
from purenn import layers, optimizers, random, training
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels

RATE = 1e-3

Widths = tuple[int, ...]


def batch(widths: Widths, size: int) -> tuple[Any, Any]:
    """Inputs (size, features) and labels (size,)."""
    inputs = np.random.default_rng(1).normal(size=(size, widths[0])).astype(np.float32)
    return inputs, np.random.default_rng(2).integers(0, widths[-1], size).astype(np.int32)


def dense(library: Any, widths: Widths) -> Any:
    """Dense layers with relu between them, of purenn's layers or the reference's."""
    parts: dict[str, Any] = {}
    for i, width in enumerate(widths[1:]):
        parts |= {f"act{i}": library.relu} if i else {}
        parts[f"dense{i}"] = library.dense(width)
    return library.serial(**parts)


def ours(
    make: Callable[[Any], Any], shape: tuple[int, ...], arrays: Any, donate: bool = False
) -> Run:
    """Forward, gradient and Adam of purenn; each step goes on from the last."""
    model, optimizer = make(layers), optimizers.adam(RATE)
    objective = training.objective(model, softmax_cross_entropy_with_integer_labels)
    step = training.train_step(objective, optimizer, donate=donate)
    state = training.init_state(model, optimizer, random.key(0), shape)

    def run() -> Any:
        nonlocal state
        state, _ = step(state, arrays)
        return state.params

    return run


def jitted(make: Callable[[Any], Any], shape: tuple[int, ...], arrays: Any, device: Any) -> Run:
    """The same step of the reference, compiled, with its state donated as ours is."""
    import jax
    import optax

    import reference.training
    from benchmarks import jax_layers, on_jax
    from reference.ops.losses.cross_entropy import (
        softmax_cross_entropy_with_integer_labels as loss,
    )

    optimizer = optax.adam(RATE)
    objective = reference.training.objective(make(jax_layers), loss)
    step = jax.jit(reference.training.train_step(objective, optimizer), donate_argnums=0)
    same = training.init_state(make(layers), optimizers.adam(RATE), random.key(0), shape)
    start = reference.training.TrainState(
        same.params, same.state, optimizer.init(same.params), same.key, np.int32(0)
    )
    now, batch = on_jax.put((start, arrays), device)

    def run() -> Any:
        nonlocal now
        now, _ = step(now, batch)
        return jax.block_until_ready(now.params)

    return run


def torch_step(widths: Widths, arrays: Any, *, compiled: bool = False) -> Run:
    """The same of PyTorch with its fused Adam."""
    import torch

    parts: list[Any] = []
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        parts += [torch.nn.ReLU()] if i else []
        parts.append(torch.nn.Linear(fan_in, fan_out))
    model = torch.nn.Sequential(*parts)
    return torch_model_step(model, arrays, compiled)


def torch_model_step(model: Any, arrays: Any, compiled: bool = False) -> Run:
    """The same of any model of PyTorch."""
    import torch

    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    inputs, labels = torch.tensor(arrays[0]), torch.tensor(arrays[1]).long()
    forward = torch.compile(model) if compiled else model

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(forward(inputs), labels).backward()
        optimizer.step()

    return run


def autograd_step(widths: Widths, arrays: Any) -> Run:
    """HIPS autograd, with its own Adam written as it is in its examples: leaf by leaf."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    leaves = _leaves(widths)
    inputs, labels = arrays
    hot = np.eye(widths[-1], dtype=np.float32)[labels]

    def loss(leaves: list[Any]) -> Any:
        x = inputs
        for i in range(0, len(leaves), 2):
            x = anp.maximum(x, 0) if i else x
            x = anp.dot(x, leaves[i]) + leaves[i + 1]
        shifted = x - anp.max(x, axis=1, keepdims=True)
        log_p = shifted - anp.log(anp.sum(anp.exp(shifted), axis=1, keepdims=True))
        return -anp.sum(log_p * hot) / len(labels)

    both = value_and_grad(loss)
    mean = [np.zeros_like(leaf) for leaf in leaves]
    square = [np.zeros_like(leaf) for leaf in leaves]
    count = 0

    def run() -> Any:
        nonlocal count
        _, grads = both(leaves)
        count += 1
        for i, g in enumerate(grads):
            mean[i] = 0.9 * mean[i] + 0.1 * g
            square[i] = 0.999 * square[i] + 0.001 * g**2
            m, v = mean[i] / (1 - 0.9**count), square[i] / (1 - 0.999**count)
            leaves[i] = leaves[i] - RATE * m / (np.sqrt(v) + 1e-8)
        return leaves

    return run


def _leaves(widths: Widths) -> list[Any]:
    """Kernels and biases in turn, those that ours starts from."""
    model, start = dense(layers, widths), random.key(0)
    params = training.init_state(model, optimizers.adam(RATE), start, widths[:1]).params
    return [params[name][leaf] for name in params for leaf in ("kernel", "bias")]


def plain_step(widths: Widths, arrays: Any) -> Run:
    """The same written down for this one network, in place, with no check: NumPy's own limit."""
    leaves = _leaves(widths)
    mean = [np.zeros_like(leaf) for leaf in leaves]
    square = [np.zeros_like(leaf) for leaf in leaves]
    inputs, labels = arrays
    rows, depth, count, loss = np.arange(len(labels)), len(widths) - 1, 0, 0.0

    def run() -> Any:
        nonlocal count, loss
        x = [inputs]
        for i in range(depth):
            y = x[-1] @ leaves[2 * i]
            y += leaves[2 * i + 1]
            x.append(np.maximum(y, 0, out=y) if i < depth - 1 else y)
        p = x.pop().astype(np.float64)
        p -= p.max(axis=1, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[rows, labels]).mean()
        p[rows, labels] -= 1
        p /= len(labels)
        dy, grads = p.astype(np.float32), [*leaves]
        for i in reversed(range(depth)):
            grads[2 * i], grads[2 * i + 1] = x[i].T @ dy, dy.sum(axis=0)
            if i:
                dy = dy @ leaves[2 * i].T
                dy *= x[i] > 0
        count += 1
        c = math.sqrt(1 - 0.999**count)
        rate, eps = RATE * c / (1 - 0.9**count), 1e-8 * c
        for leaf, m, v, g in zip(leaves, mean, square, grads, strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            g *= g
            v += 0.001 * g
            u = np.sqrt(v)
            u += eps
            np.divide(m, u, out=u)
            u *= rate
            leaf -= u
        return [leaves[i ^ 1] for i in range(len(leaves))]  # as trees have them: bias, kernel

    return run


def bare_products(widths: Widths, size: int) -> Run:
    """The matrix products that a step cannot do without, and nothing else: the floor."""
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(size, width)).astype(np.float32) for width in widths]
    kernels = [rng.normal(size=shape).astype(np.float32) for shape in pairwise(widths)]

    def run() -> None:
        for i, kernel in enumerate(kernels):
            x[i] @ kernel
        for i, kernel in reversed(list(enumerate(kernels))):
            x[i].T @ x[i + 1]
            if i:
                x[i + 1] @ kernel.T

    return run
