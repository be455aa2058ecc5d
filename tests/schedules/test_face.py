"""What the documentation shows is so, and names and defaults are those of optax."""

import doctest
import inspect

import optax
import pytest

from purenn import schedules
from tests.schedules.beside_optax import arguments, of_optax

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
    mine = arguments(getattr(schedules, name))
    if name == "reduce_on_plateau":
        assert mine.pop(0) == ("init_value", inspect.Parameter.empty)
    assert mine == arguments(of_optax(name))


def test_every_schedule_of_optax_is_here() -> None:
    theirs = {name for name in dir(optax) if name.endswith(("_schedule", "_schedules"))}
    theirs -= {"scale_by_schedule"}
    assert theirs <= {*schedules.__all__}
