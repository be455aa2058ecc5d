"""A network from its checkpoint alone says what it said when it was trained."""

from pathlib import Path

import numpy as np
import pytest

from purenn import checkpoints, random
from purenn.checkpoints import CheckpointError
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError
from purenn.runs.inputs import read
from purenn.runs.setup import setup
from purenn.runs.train import begin, outputs, run
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
    expected = outputs(made, news.place.state, made.inputs.test.inputs)
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
