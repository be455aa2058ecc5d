"""What lowers the loss is an optimizer, and nothing else."""

import inspect
from typing import Any

import pytest

from purenn import optimizers
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError
from purenn.runs.setup import setup


def config(**entries: Any) -> Config:
    return Config(**{"data": "iris", "model": "dense(8), relu, dense(3)"} | entries)


DESCENT = sorted(
    name
    for name in optimizers.__all__
    if name[0].islower()
    and not name.startswith("scale_by")
    and "learning_rate" in inspect.signature(getattr(optimizers, name)).parameters
)


@pytest.mark.parametrize("name", DESCENT)
def test_every_optimizer_with_a_learning_rate_is_one(name: str) -> None:
    for text in (f"{name}(0.01)", f"chain(clip(1.0), {name}(0.01))"):
        setup(config(optimizer=text))
    with pytest.raises(ConfigError, match=r"^optimizer: lbfgs.*: multi_steps: inner is a"):
        setup(config(optimizer="lbfgs(0.01)", accumulate=2))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("sgd(None)", "moves params"),
        ("trace(0.9)", "moves params"),
        ("chain(scale_by_adam(), trace(0.9))", "moves params"),
        ("masked(sgd(0.1), is_weight)", "moves params"),
        ("identity()", "moves params"),
        ("scale(0.1)", "moves params"),
        ("freeze", "freeze is none by itself, expected one as in adam"),
        ("steps", "steps is none by itself, expected one as in adam"),
    ],
)
@pytest.mark.usefixtures("unannotated")
def test_what_does_not_lower_the_loss_is_no_optimizer(optimizer: str, message: str) -> None:
    for accumulate in (1, 2):
        with pytest.raises(ConfigError, match=f"^optimizer: .*{message}"):
            setup(config(optimizer=optimizer, accumulate=accumulate))


def test_what_has_a_rate_by_default_needs_none() -> None:
    setup(config(optimizer="lbfgs"))
    with pytest.raises(ConfigError, match=r"^optimizer: adam has no learning rate; write adam"):
        setup(config(optimizer="adam"))
