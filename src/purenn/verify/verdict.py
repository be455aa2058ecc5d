"""What the examination of a rule found, as plain data."""

from typing import Any, Literal, NamedTuple

Word = Literal["pass", "fail", "undecided", "error"]


class Check(NamedTuple):
    """One thing that was looked at, in all dtypes."""

    check: str
    verdict: Word
    reason: str = ""
    note: str = ""


class Verdict(NamedTuple):
    """A rule, judged; the row of the report."""

    rule: str
    verdict: Word
    reason: str = ""
    """What is wrong: the argument's path, got, expected, the error in ULPs."""
    checks: tuple[Check, ...] = ()
    worst_ulp: dict[str, float | None] = {}  # noqa: RUF012
    """Per dtype the worst error of a derivative, in ULPs of |J|ᵀ|dy|; ``None`` if unmeasured."""
    autodiff_worst_ulp: dict[str, float | None] = {}  # noqa: RUF012
    """The same of JAX's jit-compiled autodiff in the same dtype, on the worst device."""
    value_worst_ulp: dict[str, float | None] = {}  # noqa: RUF012
    """Per dtype the worst error of the value."""
    autodiff_value_worst_ulp: dict[str, float | None] = {}  # noqa: RUF012
    """The same of the reference, compiled by JAX in the same dtype."""
    counterexample: str = ""
    """Python that fails as the rule did."""
    after_other_calls: tuple[str, ...] = ()
    """The same after a call with other arguments, for a rule that remembers."""
    convention: str = "vjp"
    against: str = "exact"
    """``exact``; ``float64 (why)`` or ``numeric (why)`` where the truth is less than that."""
    notes: tuple[str, ...] = ()
    points: dict[str, list[dict[str, Any]]] = {}  # noqa: RUF012
    """Per dtype and argument the errors that were measured, and at which inputs."""

    def __str__(self) -> str:
        parts = [f"{self.rule}: {self.verdict}", self.reason, self.counterexample]
        return "\n\n".join(part for part in parts if part)

    def row(self) -> dict[str, Any]:
        """The row of the JSON report."""
        found = self._asdict()
        found["checks"] = [check._asdict() for check in self.checks]
        found["notes"] = list(self.notes)
        del found["points"], found["after_other_calls"]
        return found
