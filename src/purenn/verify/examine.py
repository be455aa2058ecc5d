"""One rule: draw, ask, judge, shrink, tell."""

import inspect
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import jax
import numpy as np
from hypothesis import strategies as st

from purenn.verify import annotations, assess, draw, oracles, reproduce
from purenn.verify.annotations import Signature
from purenn.verify.calls import Failure
from purenn.verify.explain import explain
from purenn.verify.record import Record
from purenn.verify.rules import Rule, as_rule
from purenn.verify.trial import Refused, Trial, more_answers, not_finite, run
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
    progress: Callable[[], None] = lambda: None,
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
        progress: called before each input; a rule hangs if the next call does not come.

    A failure is shrunk to the plainest input and told with code that reproduces it. Whatever the
    rule raises is a verdict, never the end of the run.
    """
    try:
        signature = annotations.signature(annotated(rule), strategies or {}, rule.cases)
        wanted = admitted(signature, dtypes)
        _check_reference(rule, signature)
    except Exception as error:
        return Verdict(str(rule), "error", str(error), convention=rule.convention)
    where = jax.devices("cpu")[:1] if devices is None else devices
    start = time.monotonic()
    trials = []
    refused: Refused | Exception | None = None
    for i, dtype in enumerate(wanted, start=1):
        stop = start + time_limit * i / len(wanted)
        trial = Trial(rule, signature, dtype, where, Record(dtype), stop, progress)
        trials.append(trial)
        first = refused is None  # only the first failure is told, so only that is shrunk
        found = run(trial, examples, seed, kept, shrink=first)
        refused = refused or found
        if found is None:
            not_finite(trial, seed)
        elif first and isinstance(found, Refused):
            more_answers(trial, seed)
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


def _check_reference(rule: Rule, signature: Signature) -> None:
    """Raise ``OracleError`` if the reference cannot be called with what the rule takes."""
    try:
        takes = inspect.signature(rule.reference) if rule.reference else None
    except (ValueError, TypeError):  # some built-in functions do not say
        return
    if takes is None:
        return
    try:
        options = {*signature.static, *(name for case in signature.cases for name in case.static)}
        takes.bind(*signature.positional, **dict.fromkeys(options))
    except TypeError as error:
        ours = ", ".join([*signature.positional, *(f"*, {name}" for name in signature.static)])
        raise oracles.OracleError(
            f"the reference has another signature: {error}; it takes {takes}, the rule ({ours})"
        ) from None


def _verdict(
    rule: Rule, signature: Signature, trials: Sequence[Trial], refused: Refused | Exception | None
) -> Verdict:
    records = [trial.record for trial in trials]
    word: Word = "pass"
    reason = counterexample = ""
    after_other_calls: tuple[str, ...] = ()
    if isinstance(refused, Refused):
        word = "fail" if isinstance(refused.cause, Failure) else "error"
        dtype = refused.example.dtype
        told = str(refused) if isinstance(refused.cause, Failure) else _told(refused.cause)
        reason = f"in {dtype}: {told}" if len(trials) > 1 else told
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
        code = partial(reproduce.code, rule, refused.example, signature, shows, writes)
        counterexample = code()
        others = draw.elsewhere(signature, refused.example)
        after_other_calls = tuple(code([other]) for other in others)
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
        {record.dtype: _finite(record.value_worst) for record in records},
        {record.dtype: _finite(record.autodiff_value_worst) for record in records},
        counterexample,
        after_other_calls,
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
