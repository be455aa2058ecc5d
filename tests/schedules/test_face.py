"""What the documentation shows is so, and names and defaults are those of optax."""

import doctest
import inspect

import optax
import optax.contrib
import pytest

from purenn import schedules

FUNCTIONS = [name for name in schedules.__all__ if inspect.isfunction(getattr(schedules, name))]
EXAMPLES = [name for name in FUNCTIONS if ">>>" in (getattr(schedules, name).__doc__ or "")]
NOT_IN_OPTAX = {"inverse_time_decay", "opennmt_decay"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_print_what_they_say(name: str) -> None:
    text = getattr(schedules, name).__doc__
    test = doctest.DocTestParser().get_doctest(text, {**vars(schedules)}, name, None, None)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", sorted({*FUNCTIONS} - NOT_IN_OPTAX))
def test_arguments_and_defaults_are_those_of_optax(name: str) -> None:
    theirs = getattr(optax, name, None) or getattr(optax.contrib, name)
    mine, yours = (
        {
            argument: parameter.default
            for argument, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        }
        for function in (getattr(schedules, name), theirs)
    )
    if name == "reduce_on_plateau":
        assert mine.pop("init_value") is inspect.Parameter.empty
    assert [*mine.items()] == [*yours.items()]


def test_every_schedule_of_optax_is_here() -> None:
    theirs = {name for name in dir(optax) if name.endswith(("_schedule", "_schedules"))}
    theirs -= {"scale_by_schedule"}
    assert theirs <= {*schedules.__all__}
