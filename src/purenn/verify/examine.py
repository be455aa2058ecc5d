"""One rule: draw, ask, judge, shrink, tell."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import hypothesis
import jax
import numpy as np
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

from purenn.verify import annotations, assess, calls, draw, nonfinite, oracles, reproduce, values
from purenn.verify.annotations import Signature
from purenn.verify.calls import Failure
from purenn.verify.examples import Example, Fixed
from purenn.verify.explain import explain
from purenn.verify.record import Record
from purenn.verify.rules import Rule, as_rule, fixed_arguments
from purenn.verify.verdict import Check, Verdict, Word

DTYPES = ("float32", "float64")
"""The dtypes that a rule is examined in, if its annotations admit them and none are asked for."""

KEPT = Path(".hypothesis") / "purenn"
"""The folder of failures that were found; they are tried first the next time."""


_TIES = "each entry alone is right, but what is tied must share one derivative"


# A rule may have its reasons to refuse empty arrays, or to differ at infinity.
_ONLY_TOLD = ("not finite", "empty batches")


class DerivativeError(AssertionError):
    """A hand-written derivative is wrong, breaks its contract, or cannot be judged."""


class Refused(Exception):
    """An input on which a rule fails or raises."""

    def __init__(self, example: Example, cause: Exception) -> None:
        super().__init__(str(cause))
        self.example, self.cause = example, cause


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
    seen: dict[Any, Exception | None] = field(default_factory=dict)
    """Why the rule failed on an example, ``None`` where it did not."""

    @cached_property
    def pool(self) -> list[dict[str, Any]]:
        """The shapes to draw from."""
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
        if example.bits in self.seen:  # different bytes may be read as the same numbers
            cause = self.seen[example.bits]
        elif time.monotonic() > self.stop:
            self.record.in_time = False
            return
        else:
            cause = self.seen[example.bits] = self.refused(example, outputs)
        if cause is not None:
            raise Refused(example, cause) from cause

    def refused(self, example: Example, outputs: calls.Outputs) -> Exception | None:
        """Why the rule fails on the example, if it does."""
        try:
            assess.assess(self.rule, example, outputs, self.signature, self.devices, self.record)
        except (Failure, assess.RaisedError) as cause:
            return cause
        return None

    def draw(self, data: st.DataObject, finite: bool = True) -> tuple[Example, calls.Outputs]:
        """An example, with cotangents that fit the value that the reference gives it."""
        source, *sources = data.draw(self.source)
        layout = source.one_of(list(draw.LAYOUTS))
        primals = draw.arguments(
            self.signature,
            self.pool,
            np.dtype(self.dtype),
            [source, *sources],
            data.draw,
            constants=self.constants,
            finite=finite,
        )
        static = tuple((name, data.draw(s)) for name, s in self.signature.static.items())
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


def examine(
    rule: Rule,
    *,
    dtypes: Sequence[str] | None = None,
    devices: Sequence[Any] | None = None,
    examples: int = 40,
    seed: int = 0,
    strategies: Mapping[str, st.SearchStrategy[Any]] | None = None,
    kept: Path | None = KEPT,
    time_limit: float = float("inf"),
) -> Verdict:
    """Examine ``rule`` on ``examples`` drawn inputs per dtype.

    Args:
        rule: from :func:`discover` or :func:`as_rule`.
        dtypes: any of float32, float64, bfloat16 and float16; by default the first two, as far
            as the annotations admit them.
        devices: the JAX devices of the compiled equivalent, by default the CPU alone.
        examples: inputs drawn per dtype.
        seed: of the draw; the same seed draws the same inputs.
        strategies: a Hypothesis strategy per argument, where annotations do not say it all.
        kept: the folder for failures, which are tried first the next time; ``None`` for none.
        time_limit: in seconds; then it draws no more.

    A failure is shrunk to the plainest input and told with code that reproduces it. Whatever the
    rule raises is a verdict, never the end of the run.
    """
    try:
        signature = annotations.signature(annotated(rule), strategies or {})
        wanted = admitted(signature, dtypes)
    except Exception as error:
        return Verdict(str(rule), "error", str(error), convention=rule.convention)
    where = jax.devices("cpu")[:1] if devices is None else devices
    start = time.monotonic()
    trials = []
    refused: Refused | Exception | None = None
    for i, dtype in enumerate(wanted, start=1):
        stop = start + time_limit * i / len(wanted)
        trial = Trial(rule, signature, dtype, where, Record(dtype), stop)
        trials.append(trial)
        found = _run(trial, examples, seed, kept)
        refused = refused or found
        if found is None:
            _not_finite(trial, seed)
        elif isinstance(found, Refused):
            _more_answers(trial, seed)
    return _verdict(rule, signature, trials, refused)


def check(
    derivative: Callable[..., Any] | Rule,
    against: Callable[..., Any] | ModuleType | str | None = None,
    **options: Any,
) -> Verdict:
    """Examine a derivative, and raise unless it passes.

    Args:
        derivative: a hand-written ``f_vjp``, ``f_fwd``, ``f_grad`` or ``f_jvp`` with its ``f``
            (and ``f_bwd``) beside it, a function that carries ``jax.custom_vjp``, or a
            :class:`Rule` from :func:`discover`.
        against: the same function in JAX, a module that has it, or ``"numeric"``; by default the
            rule's own reference, or else numerically.
        options: those of :func:`examine`.

    Raises:
        DerivativeError: the rule does not pass; the message is the reason and a reproduction.
        DiscoveryError: what belongs to the derivative is not there.
    """
    verdict = examine(as_rule(derivative, against), **options)
    if verdict.verdict != "pass":
        raise DerivativeError(str(verdict))
    return verdict


def devices(choice: Literal["cpu", "gpu", "all"] = "all") -> list[Any]:
    """The first JAX device of each platform chosen; all are those that JAX sees, the CPU always.

    Raises:
        RuntimeError: JAX sees no such device.
    """
    every = sorted({device.platform for device in jax.devices()} | {"cpu"})
    return [jax.devices(platform)[0] for platform in (every if choice == "all" else [choice])]


def annotated(rule: Rule) -> list[Callable[..., Any]]:
    """The functions whose annotations say what the arguments are, the telling one first."""
    return (
        [f for f in (rule.f, rule.derivative) if f is not None]
        if rule.convention
        in (
            "jvp",
            "custom_vjp",
            "custom_jvp",
        )
        else [f for f in (rule.derivative, rule.f) if f is not None]
    )


def admitted(signature: Signature, asked: Sequence[str] | None) -> list[str]:
    """The dtypes to examine in: those asked for, as far as the annotations admit them.

    Raises:
        UnspecifiedError: they admit none of them.
    """
    every = draw.dtypes(signature)
    if not every:
        raise annotations.UnspecifiedError("the annotations admit no dtype that all arguments have")
    wanted = [name for name in asked or DTYPES if name in every]
    if asked and not wanted:
        raise annotations.UnspecifiedError(
            f"the annotations admit {', '.join(every)}, not {', '.join(asked)}"
        )
    return wanted or [every[0]]


def _run(trial: Trial, examples: int, seed: int, kept: Path | None) -> Refused | Exception | None:
    """What the rule failed with on the plainest input, if it did."""
    name = f"{getattr(trial.rule.derivative, '__module__', '')}.{trial.rule}.{trial.dtype}"
    database = None if kept is None else DirectoryBasedExampleDatabase(kept / name)

    try:
        search(trial.run, examples, seed, database)
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


def _more_answers(trial: Trial, seed: int) -> None:
    """Ask at inputs that are not shrunk: a known mistake has to explain those too."""

    def look(data: st.DataObject) -> None:
        example, outputs = trial.draw(data)
        answer = calls.call(trial.rule, example._replace(layout="C"), outputs, trial.signature)
        trial.record.answered(example, answer)

    if trial.rule.convention != "jvp":
        with suppress(Exception):  # what it has to say is said by the failure
            search(look, 12, seed + 1, shrink=False)


def _not_finite(trial: Trial, seed: int) -> None:
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


def _verdict(
    rule: Rule, signature: Signature, trials: Sequence[Trial], refused: Refused | Exception | None
) -> Verdict:
    records = [trial.record for trial in trials]
    word: Word = "pass"
    reason = counterexample = ""
    if isinstance(refused, Refused):
        word = "fail" if isinstance(refused.cause, Failure) else "error"
        dtype = refused.example.dtype
        reason = f"in {dtype}: {refused}" if len(trials) > 1 else str(refused)
        shows: Sequence[str] = ()
        if isinstance(refused.cause, Failure):
            reason += f" [{refused.cause.check}]"
            shows = refused.cause.lines
            record = next(record for record in records if record.dtype == dtype)
            story = ""
            if refused.cause.check == "adjoint":
                story = _TIES
            elif refused.cause.check.startswith("cotangent"):
                story = explain(assess.oracle(rule, refused.example, signature), record)
            reason += f"\n{story}" if story else ""
        writes = "[arguments untouched]" in reason
        counterexample = reproduce.code(rule, refused.example, signature, shows, writes)
    elif refused is not None:
        word, reason = "error", _told(refused)
    checks = _merged(records)
    unsure = [c for c in checks if c.verdict == "undecided" and c.check not in _ONLY_TOLD]
    if word == "pass" and unsure:
        word = "undecided"
        reason = "; ".join(f"{c.check}: {c.reason}" for c in unsure)
    sources = dict.fromkeys(source for record in records for source in record.sources)
    return Verdict(
        str(rule),
        word,
        reason,
        tuple(checks),
        {record.dtype: _finite(record.worst) for record in records},
        {record.dtype: _finite(record.autodiff_worst) for record in records},
        counterexample,
        rule.convention,
        "; ".join(sources),
        tuple(dict.fromkeys(note for record in records for note in record.notes())),
        {record.dtype: record.points() for record in records},
    )


def _told(error: Exception) -> str:
    """An error of ours in its own words, another with its kind and place."""
    if isinstance(error, (assess.RaisedError, annotations.UnspecifiedError, oracles.OracleError)):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)
    at = f" ({frame[-1].filename}:{frame[-1].lineno})" if frame else ""
    return f"{type(error).__name__}: {error}{at}"


def _finite(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


_ORDER: tuple[Word, ...] = ("pass", "undecided", "fail", "error")


def _merged(records: Sequence[Record]) -> list[Check]:
    """One line per check, the worst of all dtypes."""
    found: dict[str, Check] = {}
    for record in records:
        for check in record.checks():
            old = found.get(check.check)
            if old is None or _ORDER.index(check.verdict) > _ORDER.index(old.verdict):
                note = check.note or (old.note if old else "")
                found[check.check] = check._replace(note=note)
    return list(found.values())
