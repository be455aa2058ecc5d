"""A network from its checkpoint alone says what it said when it was trained."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purenn import checkpoints, random, training
from purenn.checkpoints import CheckpointError, _names
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError
from purenn.runs.inputs import read
from purenn.runs.setup import setup
from purenn.runs.train import begin, run
from purenn.runs.trained import load, run_inputs


@pytest.mark.parametrize(
    "config",
    [
        Config(data="digits", model="dense(5), relu, dense(10)", epochs=1, scale="minmax"),
        Config(data="wine", model="dense(5), batch_norm(), dense(3)", epochs=2, dtype="float64"),
        Config(data="diabetes", model="dense(1)", epochs=1, validation=0.0),
    ],
    ids=lambda config: config.data,
)
def test_it_says_the_same(config: Config, tmp_path: Path) -> None:
    made = setup(config)
    (*_, news) = run(made, begin(made), folder=tmp_path)
    (newest, *_) = checkpoints.steps(tmp_path)
    trained = load(newest)
    inputs, targets = run_inputs(trained, None)
    assert made.inputs.test is not None
    expected = made.model.forward(
        news.place.state.params, news.place.state.state, made.inputs.test.inputs
    )
    np.testing.assert_allclose(trained.outputs(inputs), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(targets, made.inputs.test.targets)
    raw, _ = read(config.data, random.key(0))
    flat = raw.inputs[:4].reshape(4, -1)
    np.testing.assert_array_equal(trained.outputs(flat), trained.outputs(raw.inputs[:4]))
    with pytest.raises(ConfigError, match=r"data: inputs have shape \(2,\), and those of the trai"):
        trained.outputs(flat[:, :2])


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "x", {"a": np.zeros(2)}, {"config": {}})
    with pytest.raises(CheckpointError, match="x: is no checkpoint of purenn train: it lacks cla"):
        load(tmp_path / "x")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> checkpoints.Checkpoint:
    made = setup(Config(data="iris", model="dense(4), relu, dense(3)", epochs=1))
    folder: Path = tmp_path_factory.mktemp("run")
    for _ in run(made, begin(made), folder=folder):
        pass
    return checkpoints.read(checkpoints.steps(folder)[0])


def nested(found: checkpoints.Checkpoint, name: str) -> Any:
    return _names.nested(found.path, found.arrays, name)


@pytest.mark.parametrize(
    ("changes", "metadata", "message"),
    [
        ({}, {"config": "adam"}, "is no checkpoint of purenn train: it lacks config"),
        ({}, {"classes": 3}, "is no checkpoint of purenn train: it lacks classes"),
        ({}, {"classes": ["a", "b"]}, r"its network gives outputs of shape \(3,\) for 2 classes"),
        ({"train": {}}, {}, "its arrays do not fit its model: "),
        ({"train": {"params": np.ones(2)}}, {}, "its arrays do not fit its model: "),
        ({"train": {"params": {"dense_0": np.ones(2)}}}, {}, "its arrays do not fit its model: "),
        ({"scaler": {}}, {}, "lacks scaler/shift"),
        ({"scaler": {"shift": {"a": np.ones(2)}}}, {}, "lacks scaler/shift"),
        ({"scaler": {"shift": np.ones(2), "factor": np.ones(3)}}, {}, "lacks scaler/shift"),
    ],
)
@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_the_model_is_refused(
    tmp_path: Path,
    saved: checkpoints.Checkpoint,
    changes: dict[str, Any],
    metadata: dict[str, Any],
    message: str,
) -> None:
    values = {name: nested(saved, name) for name in ("train", "scaler")}
    checkpoints.save(tmp_path / "x", values, saved.metadata)
    load(tmp_path / "x")
    checkpoints.save(tmp_path / "x", values | changes, saved.metadata | metadata)
    with pytest.raises(CheckpointError, match=f"x: {message}"):
        load(tmp_path / "x")


def test_a_small_file_asks_for_no_large_network(
    tmp_path: Path, saved: checkpoints.Checkpoint
) -> None:
    config = saved.metadata["config"] | {"model": "dense(10000000), dense(3)"}
    values = {"train": {"params": {}}, "scaler": nested(saved, "scaler")}
    checkpoints.save(tmp_path / "x", values, saved.metadata | {"config": config})
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="x: its arrays do not fit its model: "):
        load(tmp_path / "x")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize(
    ("loss", "outputs", "head"),
    [
        ("", 2, "p"), ("", 1, "p"), ("softmax_cross_entropy", 2, "p"),
        ("sigmoid_binary_cross_entropy", 2, "p"), ("hinge_loss", 1, "score"),
        ("hinge_loss", 2, "score"), ("multiclass_hinge_loss", 2, "score"),
        ("squared_error", 1, "score"),
    ],
)  # fmt: skip
def test_only_a_cross_entropy_has_probabilities(
    tmp_path: Path, loss: str, outputs: int, head: str
) -> None:
    config = Config(data="moons(points=40)", model=f"dense({outputs})", loss=loss, epochs=1)
    made = setup(config)
    for _ in run(made, begin(made), folder=tmp_path):
        pass
    trained = load(checkpoints.steps(tmp_path)[0])
    inputs, _ = run_inputs(trained, None)
    logits = trained.outputs(inputs)
    names, rows = trained.table(logits)
    classes = trained.classes if (head, outputs) != ("score", 1) else trained.classes[1:]
    assert names == ["predicted", *(f"{head}({name})" for name in classes)]
    assert [row[0] for row in rows] == [trained.classes[i] for i in training.labels(logits)]
    numbers = np.array([row[1:] for row in rows], float)
    if head == "score":
        np.testing.assert_allclose(numbers, logits, rtol=1e-4)
    elif loss == "sigmoid_binary_cross_entropy":
        np.testing.assert_allclose(numbers, 1 / (1 + np.exp(-logits)), rtol=1e-4)
    else:
        np.testing.assert_allclose(numbers.sum(axis=1), 1, atol=1e-5)
        decided = numbers.argmax(axis=1)
        np.testing.assert_array_equal(decided, training.labels(logits))


def test_files_that_know_less_than_the_network_are_read(
    tmp_path: Path, saved: checkpoints.Checkpoint
) -> None:
    checkpoints.save(
        tmp_path / "x", {name: nested(saved, name) for name in ("train", "scaler")}, saved.metadata
    )
    trained = load(tmp_path / "x")
    for classes in (2, 3, 4):
        np.savez(tmp_path / "x.npz", x=np.ones((8, 4)), y=np.arange(8) % classes)
        if classes > 3:
            with pytest.raises(ConfigError, match=r"x\.npz has 4 classes, the network 3"):
                run_inputs(trained, str(tmp_path / "x.npz"))
        else:
            _, labels = run_inputs(trained, str(tmp_path / "x.npz"))
            np.testing.assert_array_equal(labels, np.arange(8) % classes)
    np.savez(tmp_path / "x.npz", x=np.ones((8, 4)), y=np.ones(8))
    with pytest.raises(ConfigError, match=r"x\.npz has 0 classes, the network 3"):
        run_inputs(trained, str(tmp_path / "x.npz"))


def test_examples_come_from_a_regular_file(saved: checkpoints.Checkpoint, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npy")
    with pytest.raises(OSError, match="is no regular file"):
        run_inputs(load(saved.path), str(tmp_path / "x.npy"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_not_predicted(saved: checkpoints.Checkpoint, value: float) -> None:
    inputs = np.zeros((2000, 4))
    inputs[1500, 2] = value
    with pytest.raises(ConfigError, match=r"data: inputs\[1500, 2\] is -?(nan|inf), expected fin"):
        load(saved.path).outputs(inputs)


def test_a_model_that_needed_flat_images_is_found_again(tmp_path: Path) -> None:
    made = setup(Config(data="digits", model="batch_norm(), dense(10)", epochs=1))
    (*_, news) = run(made, begin(made), folder=tmp_path)
    trained = load(checkpoints.steps(tmp_path)[0])
    inputs, _ = run_inputs(trained, None)
    assert made.inputs.test is not None
    state = news.place.state
    expected = made.model.forward(state.params, state.state, made.inputs.test.inputs)
    np.testing.assert_allclose(trained.outputs(inputs), expected, rtol=1e-5, atol=1e-5)
