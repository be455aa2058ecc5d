"""From the start of a process to its first gradient."""

import subprocess
import sys
from pathlib import Path

from benchmarks.turns import Rivals, Run

ROOT = Path(__file__).parent.parent.parent

OURS = """
import numpy as np
from purenn import layers, random, training
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels as loss
model = layers.serial(a=layers.dense(32), act=layers.relu, b=layers.dense(10))
params, state, _ = model.init(random.key(0), (64,))
batch = np.ones((32, 64), np.float32), np.zeros(32, np.int64)
training.objective(model, loss).grad(params, state, batch)
"""
JAX = """
import jax, jax.numpy as jnp
def loss(params, x, labels):
    for i, (kernel, bias) in enumerate(params):
        x = jax.nn.relu(x) if i else x
        x = x @ kernel + bias
    return -jnp.mean(jax.nn.log_softmax(x)[jnp.arange(32), labels])
keys = jax.random.split(jax.random.key(0))
params = [(jax.random.normal(k, s), jnp.zeros(s[1])) for k, s in zip(keys, [(64, 32), (32, 10)])]
batch = jnp.ones((32, 64)), jnp.zeros(32, jnp.int32)
jax.block_until_ready(jax.jit(jax.grad(loss))(params, *batch))
"""
TORCH = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
batch = torch.ones(32, 64), torch.zeros(32, dtype=torch.long)
torch.nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
"""
AUTOGRAD = """
import autograd.numpy as np
from autograd import grad
def loss(params, x, hot):
    for i, (kernel, bias) in enumerate(params):
        x = np.maximum(x, 0) if i else x
        x = np.dot(x, kernel) + bias
    return -np.mean(hot * (x - np.log(np.sum(np.exp(x), axis=1, keepdims=True))))
params = [(np.random.randn(64, 32), np.zeros(32)), (np.random.randn(32, 10), np.zeros(10))]
grad(loss)(params, np.ones((32, 64)), np.eye(10)[np.zeros(32, int)])
"""


def _process(code: str, needs: str) -> Run:
    __import__(needs)
    command = [sys.executable, "-c", code]
    return lambda: subprocess.run(command, cwd=ROOT, check=True)


def cold() -> Rivals:
    """A network 64-32-10 and a batch of 32; the whole process is timed."""
    return {
        "purenn": lambda: _process(OURS, "purenn"),
        "JAX jit": lambda: _process(JAX, "jax"),
        "PyTorch": lambda: _process(TORCH, "torch"),
        "autograd": lambda: _process(AUTOGRAD, "autograd"),
    }


CASES = {"process to first gradient": cold}
