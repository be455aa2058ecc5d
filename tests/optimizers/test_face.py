"""Names and defaults are those of optax."""

import inspect
from typing import Any

import pytest

from purenn import optimizers
from purenn.errors import DtypeError
from tests.schedules.beside_optax import arguments, of_optax

FUNCTIONS = [name for name in optimizers.__all__ if inspect.isfunction(getattr(optimizers, name))]
NOT_IN_OPTAX = {
    "apply_gradients",
    "keep_max_norm",
    "multi_steps",  # a class there, MultiSteps
    "raise_if_not_finite",
    "scale_by_nadam",
    "wolfe_line_search",
}
# What is another thing here, by function.
DIFFERENT: dict[str, dict[str, Any]] = {
    "chain": {"transformations": "args"},
    "value_and_grad_from_state": {"value_and_grad_fn": "value_fn"},
}


@pytest.mark.parametrize("name", sorted({*FUNCTIONS} - NOT_IN_OPTAX))
def test_arguments_and_defaults_are_those_of_optax(name: str) -> None:
    renamed = DIFFERENT.get(name, {})
    mine = [(renamed.get(key, key), value) for key, value in arguments(getattr(optimizers, name))]
    theirs = arguments(of_optax(name))
    if name == "lbfgs":  # its line search is a function here, a transformation there
        assert mine.pop()[0] == theirs.pop()[0] == "linesearch"
    assert mine == theirs


OPTIONS = [
    (name, argument)
    for name in FUNCTIONS
    for argument, its in inspect.signature(getattr(optimizers, name)).parameters.items()
    if its.annotation is bool and argument != "donate"
]
NEEDED = {
    "learning_rate": 0.1, "decay": 0.9, "inner": optimizers.sgd(0.1), "every_k_schedule": 2,
    "momentum": 0.9,
}  # fmt: skip


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(("name", "argument"), OPTIONS)
def test_what_is_no_bool_is_refused(name: str, argument: str) -> None:
    function = getattr(optimizers, name)
    needed = {key: NEEDED[key] for key in inspect.signature(function).parameters if key in NEEDED}
    for wrong in ("no", 1, None):
        with pytest.raises(DtypeError, match=f"{argument} is {wrong!r}, expected a bool"):
            function(**{**needed, argument: wrong})


def test_what_is_not_in_optax_is_not() -> None:
    for name in NOT_IN_OPTAX:
        with pytest.raises(AttributeError):
            of_optax(name)
