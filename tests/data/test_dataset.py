"""The face of the package, and a network that learns from it."""

import importlib
import pkgutil
import subprocess
import sys

import numpy as np

from purenn import data, layers, optimizers, random, training
from purenn.data import Dataset, class_weights, example_weights, moons, spiral
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels


def test_what_is_public_is_exported() -> None:
    public = {"DataError"}
    for module in pkgutil.iter_modules(data.__path__, "purenn.data."):
        if not module.name.rpartition(".")[2].startswith("_"):
            found = importlib.import_module(module.name)
            public |= {
                name
                for name, member in vars(found).items()
                if getattr(member, "__module__", "") == module.name and not name.startswith("_")
            }
    assert public - {"numbered"} == {*data.__all__}
    assert data.__doc__ is not None
    assert all(name in data.__doc__ for name in data.__all__)


def test_nothing_heavy_is_loaded() -> None:
    code = "import sys, purenn.data; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "purenn.data.carried" in loaded
    assert not {"jax", "hypothesis", "scipy", "sklearn"} & {*loaded}


def test_a_dataset_is_batched_as_the_tuple_that_it_is() -> None:
    dataset = moons(random.key(0), 15)
    seen = 0
    for inputs, targets in training.batches(random.key(1), dataset[:2], 8):
        for x, y in zip(inputs, targets, strict=True):
            assert dataset.targets[(dataset.inputs == x).all(axis=1)].tolist() == [y]
            seen += 1
    assert seen == 30


def test_a_hidden_layer_learns_the_spiral() -> None:
    """cs231n: a linear classifier reaches 49 %, one hidden layer 98 %."""
    dataset = spiral(random.key(0))
    weights = example_weights(dataset.targets, class_weights(dataset.targets, 3))
    reached = []
    for model in (
        layers.serial(out=layers.dense(3)),
        layers.serial(hidden=layers.dense(64), act=layers.relu, out=layers.dense(3)),
    ):
        optimizer = optimizers.adam(0.05)
        objective = training.objective(model, softmax_cross_entropy_with_integer_labels)
        step = training.train_step(objective, optimizer)
        state = training.init_state(model, optimizer, random.key(1), (2,))
        for _ in range(400):
            state, _ = step(state, (*dataset[:2], weights))
        logits = model.forward(state.params, state.state, dataset.inputs)
        reached.append(np.mean(logits.argmax(axis=1) == dataset.targets))
    assert reached[0] < 0.6
    assert reached[1] > 0.95


def test_a_dataset_has_names() -> None:
    dataset = Dataset(np.zeros((1, 2), np.float32), np.zeros(1, np.int64), ("a",))
    assert dataset._fields == ("inputs", "targets", "classes")
