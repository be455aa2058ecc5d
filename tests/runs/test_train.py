"""A run goes on with the same bits wherever it was stopped."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from purenn import checkpoints, tree
from purenn.checkpoints import CheckpointError
from purenn.errors import DomainError
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError
from purenn.runs.setup import setup
from purenn.runs.train import Place, begin, best_epoch, restore, resume, run, save, scores
from purenn.training import TrainState, early_stopping

RUNS: dict[str, Config] = {
    "all": Config(
        data="digits",
        model="conv(2, (3, 3)), batch_norm(), relu, flatten, dropout(0.2), dense(10)",
        optimizer="adam", schedule="cosine_decay_schedule(0.01, steps)", regularizer="l2(1e-4)",
        clip=1.0, augment="random_shift(1)", class_weights=True, epochs=3, batch_size=200,
    ),
    "plateau": Config(
        data="moons(points=40)", model="dense(4), tanh, dense(2)", optimizer="sgd(momentum=0.9)",
        schedule="reduce_on_plateau(0.5, patience=1)", epochs=6, batch_size=16,
    ),
    "accumulated": Config(
        data="diabetes", model="dense(3), relu, dense(1)", accumulate=3, epochs=4, batch_size=50,
        validation=0.0, loss="log_cosh",
    ),
    "stopped early": Config(
        data="iris", model="dense(3)", optimizer="sgd(30.0)", patience=2, epochs=30, batch_size=40,
    ),
}  # fmt: skip
MADE = {name: setup(config) for name, config in RUNS.items()}
WHOLE: dict[str, Place] = {}


def same(a: Any, b: Any) -> None:
    tree.map(np.testing.assert_array_equal, a, b)


def last(name: str) -> Place:
    if name not in WHOLE:
        (*_, news) = run(MADE[name], begin(MADE[name]))
        WHOLE[name] = news.place
    return WHOLE[name]


@pytest.mark.parametrize("name", RUNS)
@settings(max_examples=3)
@given(data=st.data())
def test_a_stop_changes_nothing(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made, whole = MADE[name], last(name)
    folder = tmp_path_factory.mktemp("run")
    total = int(whole.state.step)
    stops = sorted(data.draw(st.sets(st.integers(1, total), min_size=1, max_size=2)))
    for stop in [*stops, total + 1]:
        place = resume(made, folder, pytest.fail)
        interrupted = map(stop.__eq__, range(int(place.state.step) + 1, total + 2))
        for news in run(made, place, interrupted.__next__, folder=folder):
            place = news.place
    same(place.state, whole.state)
    same(place.rates, whole.rates)
    assert place.history == whole.history
    assert place.losses == whole.losses
    assert place.best == whole.best


def test_news_of_each_step() -> None:
    made = MADE["plateau"]
    every = list(run(made, begin(made)))
    assert [(news.epoch, news.step) for news in every[: made.per_epoch + 1]] == [
        *((1, i + 1) for i in range(made.per_epoch)),
        (2, 1),
    ]
    assert [news.is_epoch for news in every].count(True) == 6
    examples = len(made.inputs.train.inputs)
    assert every[-1].seen == 6 * examples
    for news in every:
        if news.is_epoch:
            assert news.place.history[-1]["train_loss"] == news.loss
            assert news.place.history[-1]["epoch"] == news.epoch
    rates = [row["learning_rate"] for row in every[-1].place.history]
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)


def test_the_training_loss_is_a_mean_over_examples() -> None:
    made = setup(Config(data="iris", model="dense(3)", optimizer="sgd(0.0)", epochs=1))
    (*_, news) = run(made, begin(made))
    expected = scores(made, made.state, made.inputs.train)["loss"]
    assert news.loss == pytest.approx(expected, rel=1e-6)


def test_patience_ends_a_run_and_the_best_is_told() -> None:
    place = last("stopped early")
    losses = [row["validation_loss"] for row in place.history]
    assert len(losses) < 30
    assert best_epoch(place) == len(losses) - 2 == np.argmin(losses) + 1
    assert best_epoch(last("accumulated")) == 4


def test_the_best_is_kept(tmp_path: Path) -> None:
    made = MADE["stopped early"]
    states: dict[int, TrainState] = {}
    for news in run(made, begin(made), folder=tmp_path):
        if news.is_epoch:
            states[len(news.place.history)] = news.place.state
            history = news.place.history
    found = checkpoints.read(tmp_path / checkpoints.BEST)
    best = best_epoch(news.place)
    assert found.metadata["history"] == history[:best]
    expected = states[best].params["dense_0"]["kernel"]
    np.testing.assert_array_equal(found.arrays["train/params/dense_0/kernel"], expected)
    assert len(checkpoints.steps(tmp_path)) == 3


def test_checkpoints_come_as_often_as_they_should(tmp_path: Path) -> None:
    made = setup(replace(RUNS["accumulated"], checkpoint_every=4, keep=100))
    (*_, news) = run(made, begin(made), folder=tmp_path)
    steps = [int(file.stem.removeprefix("step-")) for file in checkpoints.steps(tmp_path)]
    total, each = int(news.place.state.step), made.per_epoch
    expected = {0, *range(0, total + 1, 4), *range(0, total + 1, each)}
    assert steps == sorted(expected, reverse=True)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    made = MADE["plateau"]
    told: list[str] = []
    for _ in run(made, begin(made), folder=tmp_path):
        pass
    newest, before, *_ = checkpoints.steps(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-7])
    place = resume(made, tmp_path, told.append)
    assert int(place.state.step) == checkpoints.read(before).arrays["train/step"]
    assert len(told) == 1
    assert str(newest) in told[0]
    (*_, news) = run(made, place)
    same(news.place.state, last("plateau").state)


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    made = MADE["plateau"]
    for _ in run(made, begin(made), folder=tmp_path):
        break
    changed = setup(replace(RUNS["plateau"], batch_size=8))
    with pytest.raises(ConfigError, match=r"^batch_size: is 8, and the run that is resumed was st"):
        resume(changed, tmp_path, pytest.fail)
    longer = setup(replace(RUNS["plateau"], epochs=9))
    assert int(resume(longer, tmp_path, pytest.fail).state.step) == 0


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("schedule", "cosine_decay_schedule(0.01, steps)"),
        ("optimizer", "adam(cosine_decay_schedule(0.01, 2*steps))"),
    ],
)
def test_another_number_of_epochs_is_refused_where_the_steps_depend_on_it(
    tmp_path: Path, key: str, text: str
) -> None:
    entries: dict[str, Any] = {"optimizer": "adam", key: text}
    config = Config(data="iris", model="dense(3)", **entries)
    made = setup(config)
    for _ in run(made, begin(made), folder=tmp_path):
        break
    longer = setup(replace(config, epochs=9))
    message = f"^epochs: is 9, and the run that is resumed was started with 20, and {key} depends"
    with pytest.raises(ConfigError, match=message):
        resume(longer, tmp_path, pytest.fail)
    assert int(resume(made, tmp_path, pytest.fail).state.step) == 0


def test_other_data_are_refused(tmp_path: Path) -> None:
    x, y = np.arange(80.0).reshape(40, 2), np.arange(40) % 2

    def made(count: int, shift: float) -> Any:
        np.savez(tmp_path / "x.npz", x=x[:count] + shift, y=y[:count])
        return setup(Config(data=str(tmp_path / "x.npz"), model="dense(2)"))

    for _ in run(made(40, 0.0), begin(made(40, 0.0)), folder=tmp_path / "run"):
        break
    with pytest.raises(ConfigError, match=r"^data: has 14 examples in the train part, and had 28 "):
        resume(made(20, 0.0), tmp_path / "run", pytest.fail)
    with pytest.raises(ConfigError, match=r"^data: is not what the run that is resumed was traine"):
        resume(made(40, 1.0), tmp_path / "run", pytest.fail)
    assert int(resume(made(40, 0.0), tmp_path / "run", pytest.fail).state.step) == 1


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path: Path) -> None:
    checkpoints.save_step(tmp_path, 7, {"a": np.ones(2)}, {"config": "adam"})
    with pytest.raises(CheckpointError, match=r"safetensors: is no checkpoint of purenn train: it"):
        resume(MADE["plateau"], tmp_path, pytest.fail)


def test_without_a_validation_loss_that_is_a_number_there_is_no_best(tmp_path: Path) -> None:
    made = MADE["plateau"]
    nowhere = begin(made)
    for _ in range(3):
        best = early_stopping(9).update(nowhere.best, math.nan)
        nowhere = nowhere._replace(best=best, history=[{"epoch": 1, "validation_loss": math.nan}])
    save(made, nowhere, tmp_path)
    assert not (tmp_path / checkpoints.BEST).exists()
    with pytest.raises(DomainError, match="validation: the loss was NaN after every epoch"):
        restore(tmp_path, made, nowhere)


def test_a_run_that_diverges_stops_with_a_reason() -> None:
    made = setup(
        Config(data="diabetes", model="dense(9), dense(1)", optimizer="sgd(1e6)", epochs=9)
    )
    with (
        np.errstate(all="ignore"),
        pytest.raises(DomainError, match=r"^step \d+: the loss is (inf|nan); "),
    ):
        list(run(made, begin(made)))


def test_values_are_scored_by_r2() -> None:
    found = scores(MADE["accumulated"], last("accumulated").state, MADE["accumulated"].inputs.train)
    assert [*found] == ["loss", "r2"]
    assert not math.isnan(found["r2"])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"history": [3]}, "its history is no list of rows of numbers"),
        ({"history": [{"validation_loss": "x"}]}, "its history is no list of rows of numbers"),
        ({"history": [{"epoch": 1}]}, "its history lacks validation_loss"),
        ({"losses": [0.0]}, "losses is"),
        ({"losses": [0.0, None]}, "losses is"),
    ],
)
def test_what_no_run_has_saved_is_not_gone_on_with(
    tmp_path: Path, entries: dict[str, Any], message: str
) -> None:
    made = MADE["stopped early"]
    save(made, begin(made), tmp_path)
    (file,) = checkpoints.steps(tmp_path)
    found = checkpoints.read(file)
    arrays = checkpoints.fitted(
        found, {"train": made.state, "rates": {}, "scaler": made.inputs.scaler}
    )
    checkpoints.save(file, arrays, found.metadata | entries)
    with pytest.raises(CheckpointError, match=message):
        resume(made, tmp_path, print)
