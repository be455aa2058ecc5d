"""The examiner's own power: how many seeded mistakes it catches."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import hypothesis
import jax
import numpy as np
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from purenn.typing import Array
from purenn.verify import annotations, assess, calls, conditioning, judge, truths
from purenn.verify.balls import Balls
from purenn.verify.calls import Answer
from purenn.verify.examine import admitted, annotated
from purenn.verify.examples import Example, is_differentiable
from purenn.verify.mutants import MUTANTS, Mutant
from purenn.verify.oracles import Oracle
from purenn.verify.record import Record
from purenn.verify.rules import Rule
from purenn.verify.trial import Trial, search
from purenn.verify.verdict import Word


class Power(NamedTuple):
    """What became of the mistakes that were seeded into one rule."""

    rule: str
    verdict: Word
    """``pass`` if none survived; ``error`` if the rule itself does not pass."""
    caught: tuple[str, ...] = ()
    survived: tuple[str, ...] = ()
    equivalent: tuple[str, ...] = ()
    """Mistakes that are none for this rule: never further from the truth than is right."""
    reason: str = ""


def power(
    rule: Rule,
    *,
    dtypes: Sequence[str] | None = None,
    examples: int = 60,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Power:
    """Seed every mistake of :data:`MUTANTS` into ``rule`` and see which are caught.

    A mistake that is not caught is compared with the truth: if on all inputs its cotangents are
    within the tolerance without any excuse, it is equivalent to the rule. Otherwise it survives.
    """
    if rule.convention == "jvp":
        return Power(str(rule), "pass", reason="mistakes are seeded into pullbacks, it has none")
    try:
        signature = annotations.signature(annotated(rule), {}, rule.cases)
        wanted = admitted(signature, dtypes)
    except annotations.UnspecifiedError as error:
        return Power(str(rule), "error", reason=str(error))
    alive = list(MUTANTS)
    excused: set[str] = set()
    wrongs: dict[Any, Rule] = {}
    by_contract = _BY_CONTRACT - (_BY_PULLBACK if rule.convention == "grad" else set())

    def look(trial: Trial, data: st.DataObject) -> None:
        example, outputs = trial.draw(data)
        try:
            assess.assess(rule, example, outputs, signature, trial.devices, trial.record)
        except assess.OutsideError:
            hypothesis.reject()
        right = calls.call(rule, example, outputs, signature)
        truth = None
        for mutant in list(alive):
            wrong = wrongs.setdefault((mutant.name, outputs), mutated(rule, mutant, outputs))
            try:
                answer = calls.call(wrong, example, outputs, signature)
                if mutant.name in by_contract:
                    if mutant.name in _BY_REPETITION and not _has_slope(right):
                        continue
                    excused.add(mutant.name)
                elif not _same(answer, right):
                    told = assess.oracle(rule, example, signature)
                    truth = truth or truths.truth(told, example)
                    if _is_right(answer, truth, told, example):
                        continue
                    excused.add(mutant.name)
                else:
                    continue
                fresh = Record(trial.dtype)
                assess.assess(wrong, example, outputs, signature, trial.devices, fresh)
            except (calls.Failure, assess.RaisedError):
                alive.remove(mutant)
            except Exception:
                alive.remove(mutant)

    for dtype in wanted:
        trial = Trial(
            rule, signature, dtype, jax.devices("cpu")[:1], Record(dtype), np.inf, progress
        )

        try:
            count = max(examples, 12 * len(rule.cases))
            search(partial(look, trial), count, seed, shrink=False)
        except Exception as error:
            return Power(str(rule), "error", reason=f"the rule itself does not pass: {error}")
    survived = tuple(m.name for m in alive if m.name in excused)
    equivalent = tuple(m.name for m in alive if m.name not in excused)
    gone = tuple(m.name for m in MUTANTS if m not in alive)
    return Power(str(rule), "fail" if survived else "pass", gone, survived, equivalent)


# Mistakes that show in what a call does rather than in what it returns.
_BY_CONTRACT = {"writes to dy", "writes to x", "accumulates", "unsteady"}
# Of those, what only a pullback can do.
_BY_PULLBACK = {"writes to dy", "accumulates"}
# What shows only where a cotangent is not 0.
_BY_REPETITION = {"accumulates", "unsteady"}


def _has_slope(answer: calls.Answer) -> bool:
    return any(x is not None and np.any(x) for x in answer.cotangents)


def mutated(rule: Rule, mutant: Mutant, outputs: calls.Outputs) -> Rule:
    """The rule with a mistake seeded into it."""
    f_vjp = rule.f_vjp
    trees: dict[str, Any] = {}

    def flat(xs: list[Array]) -> Any:
        primals = jax.tree.unflatten(trees["primals"], xs)
        y, pullback = f_vjp(*primals, **trees["static"])

        def pull(dys: list[Array]) -> list[Array | None]:
            found = pullback(jax.tree.unflatten(outputs.treedef, dys))
            rest = [None] * (len(primals) - len(found))  # a gradient by the first arguments
            return _leaves(primals, (*found, *rest))

        return [np.asarray(leaf) for leaf in jax.tree.leaves(y)], pull

    # One for all calls: some mistakes are in what they remember.
    wrong_flat = mutant.mutate(flat)

    def wrong(*primals: Any, **static: Any) -> Any:
        xs, trees["primals"] = jax.tree.flatten(primals)
        trees["static"] = static
        treedef = trees["primals"]
        ys, pull = wrong_flat(xs)

        def pullback(dy: Any) -> Any:
            found = jax.tree.unflatten(treedef, pull(jax.tree.leaves(dy)))
            return tuple(None if not jax.tree.leaves(part) else part for part in found)

        return jax.tree.unflatten(outputs.treedef, ys), pullback

    if rule.convention == "grad":

        def wrong_grad(*primals: Any, **static: Any) -> Any:
            y, pullback = wrong(*primals, **static)
            return pullback(jax.tree.map(np.ones_like, y))

        return rule._replace(derivative=wrong_grad)
    wrong.__name__ = f"{rule.name}_vjp"
    return rule._replace(derivative=wrong, convention="vjp", f=None)


def _leaves(primals: Any, cotangents: Sequence[Any]) -> list[Array | None]:
    """A cotangent per leaf of the primals, ``None`` for each of an argument that has none."""
    found: list[Array | None] = []
    for primal, cotangent in zip(primals, cotangents, strict=True):
        if cotangent is None:
            found += [None] * len(jax.tree.leaves(primal))
        else:
            found += jax.tree.leaves(cotangent, is_leaf=lambda x: x is None)
    return [None if dx is None else np.asarray(dx) for dx in found]


def _same(one: Answer, other: Answer) -> bool:
    pairs = zip((*one.value, *one.cotangents), (*other.value, *other.cotangents), strict=True)
    return all(
        a is b or (a is not None and b is not None and np.array_equal(a, b, equal_nan=True))
        for a, b in pairs
    )


def _is_right(answer: Answer, truth: truths.Truth, told: Oracle, example: Example) -> bool:
    """Whether everything is within the one tolerance, without any excuse."""
    values = zip(answer.value, truth.value, truth.value_scales, strict=True)
    if not all(_within(*its) for its in values):
        return False
    cotangents = list(zip(answer.cotangents, truth.cotangents, truth.cotangent_scales, strict=True))
    if all(_within(*its) for its in cotangents):
        return True
    conditioned = zip(cotangents, conditioning.of_cotangents(told, example), strict=True)
    return all(
        _within(ours, exact, scale if scale is None or more is None else 4 * (scale + more))
        for (ours, exact, scale), more in conditioned
    )


def _within(ours: Array | None, exact: Balls | None, scale: Array | None) -> bool:
    if ours is None or exact is None or scale is None or not is_differentiable(ours):
        return True
    return bool(np.all(judge.errors(ours, exact, scale) <= judge.TOLERANCE))


def show(found: Sequence[Power], console: Console) -> int:
    """Print caught, equivalent and survived per rule; the exit status, 1 if one survived."""
    table = Table(
        caption=f"Of {len(MUTANTS)} mistakes seeded into each rule: those caught, those that are "
        "no mistake for this rule, and those that survived.",
        caption_justify="left",
    )
    for name in ("rule", "caught", "equivalent", "survived"):
        table.add_column(name, justify="left" if name in ("rule", "survived") else "right")
    for one in found:
        survived = ", ".join(one.survived) or ("–" if one.verdict == "pass" else one.reason)
        table.add_row(one.rule, str(len(one.caught)), str(len(one.equivalent)), survived)
    console.print(table)
    return 0 if all(one.verdict == "pass" for one in found) else 1
