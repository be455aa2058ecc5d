import pytest

from purenn import verify
from purenn.verify import Rule
from tests.verify import right_by_numbers, right_reference, right_rules

RULES = verify.discover(right_rules, right_reference)
BY_NUMBERS = verify.discover(right_by_numbers, "numeric")


def test_the_rules_are_all_found() -> None:
    written = {name.removesuffix("_vjp") for name in vars(right_rules) if name.endswith("_vjp")}
    assert {rule.name for rule in RULES} >= written
    assert {rule.convention for rule in RULES} == {"vjp", "fwd_bwd", "grad", "jvp", "custom_vjp"}


@pytest.mark.parametrize("rule", [*RULES, *BY_NUMBERS], ids=str)
def test_what_is_right_is_not_accused(rule: Rule, pytestconfig: pytest.Config) -> None:
    seeds = range(pytestconfig.getoption("--seeds"))
    told = {seed: verify.examine(rule, seed=seed, examples=20, kept=None) for seed in seeds}
    accused = {seed: verdict.reason for seed, verdict in told.items() if verdict.verdict != "pass"}
    assert accused == {}
