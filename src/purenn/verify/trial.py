"""A rule in one dtype: inputs are drawn, and the one that it fails on is shrunk."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import hypothesis
import jax
import numpy as np
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from purenn.verify import assess, calls, draw, nonfinite, oracles, values
from purenn.verify.annotations import Case, Signature
from purenn.verify.examples import Example, Fixed
from purenn.verify.judge import BEYOND
from purenn.verify.record import Record
from purenn.verify.rules import Rule, fixed_arguments


class Refused(Exception):
    """An input on which a rule fails or raises."""

    def __init__(self, example: Example, cause: Exception) -> None:
        super().__init__(example, cause)
        self.example, self.cause = example, cause

    def __str__(self) -> str:
        return str(self.cause)


@dataclass
class Trial:
    """An examination of a rule in one dtype, as it goes on."""

    rule: Rule
    signature: Signature
    dtype: str
    devices: Sequence[Any]
    record: Record
    stop: float
    """The clock's reading at which to be done."""
    progress: Callable[[], None] = lambda: None
    """Called before each input."""
    seen: dict[Any, Refused | None] = field(default_factory=dict)
    """What the rule failed with on an example, ``None`` where it did not."""

    @cached_property
    def pool(self) -> list[Case]:
        """The shapes to draw from, with what goes with them."""
        return draw.sizes(self.signature)

    @cached_property
    def source(self) -> st.SearchStrategy[Any]:
        """Where the numbers come from."""
        return draw.source(self.signature, self.pool)

    @cached_property
    def constants(self) -> tuple[float, ...]:
        """The numbers that stand in the rule and in its reference."""
        return values.constants((self.rule.derivative, self.rule.f, self.rule.reference))

    def run(self, data: st.DataObject) -> None:
        """Draw an example and raise ``Refused`` if the rule fails on it."""
        example, outputs = self.draw(data)
        bits = example.bits  # different bytes may be read as the same numbers
        if bits not in self.seen:
            if time.monotonic() > self.stop:
                self.record.in_time = False
                return
            self.seen[bits] = self.asked(example, outputs)
        refused = self.seen[bits]
        if refused is None:
            return
        if isinstance(refused.cause, assess.OutsideError):
            self.record.refused = refused.cause
            hypothesis.reject()
        raise Refused(*refused.args) from refused.cause

    def asked(self, example: Example, outputs: calls.Outputs) -> Refused | None:
        """What the rule fails with on the example, or on one with smaller numbers.

        The square of a large number may overflow; what fails before it does is no such case.
        """
        before = self.record.excused.get(BEYOND, 0)
        cause = self.refused(example, outputs)
        if cause is None and self.record.excused.get(BEYOND, 0) > before:
            example = example.moved([*map(values.tamed, example.arrays)])
            example = example._replace(cotangents=tuple(map(values.tamed, example.cotangents)))
            cause = self.refused(example, outputs)
        return None if cause is None else Refused(example, cause)

    def refused(self, example: Example, outputs: calls.Outputs) -> Exception | None:
        """Why the rule fails on the example, if it does."""
        try:
            assess.assess(self.rule, example, outputs, self.signature, self.devices, self.record)
        except Exception as cause:  # also ours: Hypothesis asks again and wants the same answer
            return cause
        return None

    def draw(self, data: st.DataObject, finite: bool = True) -> tuple[Example, calls.Outputs]:
        """An example, with cotangents that fit the value that the reference gives it."""
        self.progress()
        source, *sources = data.draw(self.source)
        layout = source.one_of(list(draw.LAYOUTS))
        case = draw.one_case(source, self.pool)
        primals = draw.arguments(
            self.signature,
            case.sizes,
            np.dtype(self.dtype),
            sources,
            data.draw,
            constants=self.constants,
            finite=finite,
        )
        drawn = {name: data.draw(s) for name, s in self.signature.static.items()}
        static = tuple((drawn | case.static).items())
        fixed = fixed_arguments(self.rule)
        primals = tuple(Fixed(x) if i in fixed else x for i, x in enumerate(primals))
        names = tuple(self.signature.positional)
        example = Example(names, primals, static, (), self.dtype, layout)
        outputs = self.outputs(example)
        is_empty = [0 in shape for shape, _ in outputs.leaves]
        if any(x.size == 0 for x in example.arrays) and not any(is_empty):
            hypothesis.reject()  # what is summed over is no batch
        dys = []
        for shape, dtype in outputs.leaves:
            if not jax.numpy.issubdtype(dtype, np.floating):
                dys.append(np.zeros(shape, jax.dtypes.float0))
            elif self.rule.convention == "grad":
                dys.append(np.ones(shape, dtype))
            else:
                dys.append(draw.cotangents(sources[-1], shape, dtype))
        return example._replace(cotangents=tuple(dys)), outputs

    def outputs(self, example: Example) -> calls.Outputs:
        """What the value must look like; an input that rule and reference refuse is none."""
        try:
            oracle = assess.oracle(self.rule, example, self.signature)
            return oracles.outputs(oracle, example)
        except Exception as error:
            self.record.refused = error
            if isinstance(error, oracles.OracleError) and self.rule.f is None:
                raise
            try:
                with calls.quietly(calls.is_wide(example)):
                    primals = calls.given(example, self.signature)
                    (self.rule.f or self.rule.f_vjp)(*primals, **dict(example.static))
            except Exception:
                hypothesis.reject()
            raise assess.RaisedError(f"the reference raised {assess.where(error)}") from error


def run(
    trial: Trial, examples: int, seed: int, kept: Path | None, shrink: bool
) -> Refused | Exception | None:
    """What the rule failed with, on the plainest input if it is to be shrunk."""
    name = f"{getattr(trial.rule.derivative, '__module__', '')}.{trial.rule}.{trial.dtype}"
    database = None if kept is None else DirectoryBasedExampleDatabase(kept / name)

    try:
        search(trial.run, examples, seed, database, shrink)
    except hypothesis.errors.Unsatisfiable:
        return trial.record.refused or RuntimeError("no input could be drawn")
    except Exception as error:
        return error
    return None


def search(
    look: Callable[[st.DataObject], None],
    examples: int,
    seed: int,
    database: Any = None,
    shrink: bool = True,
) -> None:
    """Let Hypothesis draw ``examples`` inputs for ``look``, and shrink the one that it raises on.

    Raises:
        Unsatisfiable: every input was rejected.
        Exception: what ``look`` raises on the plainest input.
    """

    @hypothesis.settings(
        max_examples=examples,
        database=database,
        deadline=None,
        phases=[Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
        derandomize=False,
    )
    @hypothesis.seed(seed)  # inside, for outside it would take the database away
    @hypothesis.given(st.data())
    def run(data: st.DataObject) -> None:
        look(data)

    run()


def more_answers(trial: Trial, seed: int) -> None:
    """Ask at inputs that are not shrunk: a known mistake has to explain those too."""

    def look(data: st.DataObject) -> None:
        example, outputs = trial.draw(data)
        answer = calls.call(trial.rule, example._replace(layout="C"), outputs, trial.signature)
        trial.record.answered(example, answer)

    if trial.rule.convention != "jvp":
        with suppress(Exception):  # what it has to say is said by the failure
            search(look, 12, seed + 1, shrink=False)


def not_finite(trial: Trial, seed: int) -> None:
    """Note where the reference is finite on infinite or NaN inputs and the rule is not."""

    def look(data: st.DataObject) -> None:
        example, outputs = trial.draw(data, finite=False)
        if time.monotonic() < trial.stop:
            told = assess.oracle(trial.rule, example, trial.signature)
            nonfinite.look(
                trial.rule, example, outputs, trial.signature, told, trial.devices[0], trial.record
            )

    try:
        search(look, 10, seed, shrink=False)
    except hypothesis.errors.Unsatisfiable:
        pass
    except Exception as error:
        trial.record.saw("not finite", "undecided", str(error))
