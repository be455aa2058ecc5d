"""A run that moves from NumPy to eight devices and back, in one TrainState and in one file."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
import sys

import jax
import numpy as np
import optax

import reference.layers
import reference.training
from purenn import checkpoints, layers, optimizers, random, training, tree
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels as loss
from reference.ops.losses.cross_entropy import (
    softmax_cross_entropy_with_integer_labels as jax_loss,
)

jax.config.update("jax_enable_x64", True)
file, dtype = sys.argv[1], sys.argv[2]
tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]


def model(m):
    return m.serial(a=m.dense(16), act=m.relu, drop=m.dropout(0.3), out=m.dense(3))


def near(got, expected):
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance / 100)


rng = np.random.default_rng(0)
data = rng.normal(size=(64, 5)).astype(dtype), rng.integers(0, 3, 64)
optimizer = optimizers.chain(optimizers.clip_by_global_norm(0.5), optimizers.adam(1e-2))
theirs = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-2))
step = training.train_step(training.objective(model(layers), loss), optimizer)
state = training.init_state(model(layers), optimizer, random.key(0), (5,), dtype)
stream = list(training.stream(random.key(1), data, 32, 5))
for state, _ in training.fit(step, state, stream[:2]):
    pass
checkpoints.save(file, state)

mesh = jax.sharding.Mesh(jax.devices(), ("batch",))
assert mesh.size == len(jax.devices()) == 8
sharded = reference.training.train_step(
    reference.training.objective(model(reference.layers), jax_loss), theirs, mesh
)
loaded, _ = checkpoints.load(file, like=state)
there, metrics = sharded(loaded, stream[2])
for leaf in jax.tree.leaves(there):
    assert leaf.sharding.is_fully_replicated and len(leaf.sharding.device_set) == 8
text = sharded.lower(loaded, stream[2]).compile().as_text()
assert "f64[4,16]" in text if dtype == "float64" else "f32[4,16]" in text  # a part: 32 over 8
assert "all-reduce" in text

here, told = step(state, stream[2])
near(metrics["loss"], told["loss"])
tree.map(near, jax.device_get(there.params), here.params)
for got, expected in zip(
    jax.tree.leaves(there.opt_state), tree.leaves(here.opt_state), strict=True
):
    near(got, expected)

checkpoints.save(file, jax.device_get(there))
state, _ = checkpoints.load(file, like=state)
for there, _ in training.fit(sharded, there, stream[3:]):
    pass
for state, _ in training.fit(step, state, stream[3:]):
    pass
tree.map(near, state.params, jax.device_get(there.params))
assert int(state.step) == int(there.step) == len(stream)
print("the same")
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_eight_devices_and_back(tmp_path: Path, dtype: str) -> None:
    environment: dict[str, Any] = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, tmp_path / "state.safetensors", dtype],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout == "the same\n", run.stderr
