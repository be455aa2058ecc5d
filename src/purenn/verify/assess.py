"""One example: everything that is asked of a rule on one input."""

import traceback
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import (
    annotations,
    balls,
    calls,
    floats,
    judge,
    oracles,
    properties,
    quantities,
    reproduce,
    rivals,
    tangents,
    truths,
)
from purenn.verify.annotations import Signature
from purenn.verify.calls import Answer, Failure, Outputs
from purenn.verify.examples import Example, is_differentiable
from purenn.verify.judge import Quantity
from purenn.verify.oracles import Oracle
from purenn.verify.record import MOST_FAILING, Record
from purenn.verify.rules import Rule, fixed_arguments


class RaisedError(Exception):
    """A rule or its reference raises."""


class OutsideError(Exception):
    """A rule refuses what is outside of its domain: the reference gives NaN there."""


def oracle(rule: Rule, example: Example, signature: Signature) -> Oracle:
    """Who says what is right about a rule."""
    own = rule.f or (rule.derivative if rule.convention.startswith("custom") else None)
    is_jax = rule.convention.startswith("custom") or any(
        leaf.holder is jax.Array for leaf in annotations.leaves(signature.positional.values())
    )
    return oracles.choose(rule.reference, own, example.structure, example.dtype, is_jax)


def assess(
    rule: Rule,
    example: Example,
    outputs: Outputs,
    signature: Signature,
    devices: Sequence[Any],
    record: Record,
) -> None:
    """Everything that is asked of a rule on one input; each check goes into the record.

    Raises:
        Failure: a check fails, the first of several.
        OutsideError: the rule refuses what has no value.
        RaisedError: the rule raises.
    """
    told = oracle(rule, example, signature)
    record.sources[told.kind + (f" ({told.note})" if told.note else "")] = None
    try:
        _assess(rule, example, outputs, signature, devices, record, told)
    except Failure as failure:
        if any(x.size == 0 for x in example.arrays):
            failure.check = "empty batches"
        elif example.layout != "C" and _passes_in_c(rule, example, outputs, signature, devices):
            failure.check = "layout"
            failure.reason += f" (with {example.layout}; in C order it is right)"
            failure.args = (failure.reason,)
        record.saw(failure.check, "fail", failure.reason)
        raise
    except RaisedError as error:
        if not any(x.size == 0 for x in example.arrays):
            if _is_outside(told, example):
                raise OutsideError(str(error)) from error
            raise
        record.saw("empty batches", "undecided", f"refused: {error}")
        return
    if any(x.size == 0 for x in example.arrays):
        record.saw("empty batches")
    if example.layout != "C":
        record.saw("layout")


def _is_outside(told: Oracle, example: Example) -> bool:
    """Whether the value is no number."""
    with calls.quietly(calls.is_wide(example)):
        try:
            value = example.structure.flat(told.function)(*example.arrays)
        except Exception:
            return told.kind == "numeric"
    return any(is_differentiable(y) and np.isnan(y).any() for y in map(np.asarray, value))


def _passes_in_c(
    rule: Rule, example: Example, outputs: Outputs, signature: Signature, devices: Sequence[Any]
) -> bool:
    plain = example._replace(layout="C")
    told = oracle(rule, example, signature)
    try:
        _assess(rule, plain, outputs, signature, devices, Record(example.dtype), told)
    except Exception:
        return False
    return True


def _assess(
    rule: Rule,
    example: Example,
    outputs: Outputs,
    signature: Signature,
    devices: Sequence[Any],
    record: Record,
    told: Oracle,
) -> None:
    first: Answer | None = None
    if rule.convention != "jvp":
        first = raising(calls.call, rule, example, outputs, signature)
        record.saw("contract")
        raising(properties.pure, rule, example, outputs, signature, first)
        record.saw("same bits again")
        record.saw("arguments untouched")
    truth = truths.truth(told, example)
    if told.kind == "numeric" and _is_beyond(told, example, truth):
        return
    by_jax: dict[str, rivals.Answer] = {}
    if told.kind != "numeric":
        by_jax = {f"jit on {d.platform}": rivals.autodiff(told, example, d) for d in devices}
    # Costly, shared by all quantities, and seldom needed.
    unlucky = cache(lambda: rivals.less_lucky(told, example, devices[0], truth) if by_jax else [])
    failures: list[Failure] = []
    given: dict[str, list[Array]] = {}
    # What the function itself says of its value is no news where it is the oracle.
    if rule.f is not None and rule.f is not told.function:
        given["f"] = raising(_forward, rule, example, outputs, signature)
    if first is not None:
        given["y"] = first.value
    rival_values = {who: answer.value for who, answer in by_jax.items()}
    if told.kind == "numeric":
        rival_values = {"f": _values(told, example)}
    for quantity in quantities.values(told, example, given, truth, rival_values, unlucky):
        code = _value_code(rule, quantity, example)
        _collect(failures, partial(judged, quantity, record, "value", code))
    is_poor = False
    if first is not None:
        for i, quantity in quantities.cotangents(told, example, first, truth, by_jax, unlucky):
            code = _cotangent_code(rule, example, i)
            at = example.arrays[i].astype(np.float64)
            check = f"cotangent {quantity.name}"
            _collect(failures, partial(judged, quantity, record, check, code, at))
            _look_at_kinks(told, example, i, quantity, record)
            is_poor |= bool(judge.is_poor(quantity).any())
        if rule.convention != "grad":
            again = partial(_again, rule, example, outputs, signature)
            sizes = [_largest(row) for row in truth.jacobians]
            is_wrong = partial(_is_wrong, told, example, devices[0])
            linear = partial(
                properties.linear, again, example, first, truth.cotangent_scales, sizes, is_wrong
            )
            _collect(failures, linear, record, "linear in dy")
        if not failures and not is_poor:
            for v in directions(example):
                asked = [
                    None if dx is None else t for t, dx in zip(v, first.cotangents, strict=True)
                ]
                pushed = truths.directional(told, example, truth, asked)
                rounding = 0.0 if by_jax else quantities.rounding(told, example, first)
                adjoint = partial(
                    properties.adjoint, example, first, asked, pushed, truth, rounding
                )
                _collect(failures, adjoint, record, "adjoint")
    if rule.jvp is not None or rule.convention == "jvp":
        look = partial(tangents.look, rule, example, outputs, signature, told, truth, record)
        _collect(failures, look)
    if failures:
        if first is not None and len(record.failing) < MOST_FAILING:
            record.failing.append((example, first))
        raise failures[0]


def _values(told: Oracle, example: Example) -> list[Array]:
    """What the function itself gives in this dtype."""
    with calls.quietly(calls.is_wide(example)):
        return [np.asarray(y) for y in example.structure.flat(told.function)(*example.arrays)]


def _is_beyond(told: Oracle, example: Example, truth: truths.Truth) -> bool:
    """Whether the function itself has no right digits left in this dtype, for an overflow maybe."""
    return any(
        np.any(judge.errors(y, exact, scale) > 1e-2 / floats.eps(y.dtype))
        for y, exact, scale in zip(
            _values(told, example), truth.value, truth.value_scales, strict=True
        )
        if is_differentiable(y)
    )


def _is_wrong(
    told: Oracle, example: Example, device: Any, dys: tuple[Array, ...], answer: Answer
) -> bool:
    """Whether the cotangents are wrong for another dy."""
    moved = example._replace(cotangents=dys)
    by_jax: dict[str, rivals.Answer] = {}
    if told.kind != "numeric":
        by_jax = {"jit": rivals.autodiff(told, moved, device)}
    truth = truths.truth(told, moved)
    unlucky = cache(lambda: rivals.less_lucky(told, moved, device, truth) if by_jax else [])
    found = quantities.cotangents(told, moved, answer, truth, by_jax, unlucky)
    return any(judge.judge(quantity).place is not None for _, quantity in found)


def raising(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function that calls the rule gives; what it raises is a ``RaisedError``."""
    try:
        return function(*arguments)
    except Failure:
        raise
    except ValueError as error:
        if "read-only" in str(error):
            raise Failure(
                "arguments untouched", "writes to an argument or to dy (here they are read-only)"
            ) from error
        raise RaisedError(where(error)) from error
    except Exception as error:
        raise RaisedError(where(error)) from error


def where(error: BaseException) -> str:
    """What was raised, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = str(__file__).rsplit("/", 1)[0]
    theirs = [
        f for f in frames if not f.filename.startswith(ours) and "/site-packages/" not in f.filename
    ]
    at = (theirs or frames)[-1:]
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" + (f" ({at[0].filename}:{at[0].lineno})" if at else "")


def _collect(
    failures: list[Failure],
    function: Callable[[], None],
    record: Record | None = None,
    check: str = "",
) -> None:
    try:
        function()
    except Failure as failure:
        failures.append(failure)
        if record is not None:
            record.saw(failure.check, "fail", failure.reason)
        return
    if record is not None and check:
        record.saw(check)


def _forward(rule: Rule, example: Example, outputs: Outputs, signature: Signature) -> list[Array]:
    assert rule.f is not None
    with calls.quietly(calls.is_wide(example)):
        y = rule.f(*calls.given(example, signature), **dict(example.static))
        return calls.value_leaves(y, outputs, f"the value of {rule.name}")


def _again(
    rule: Rule,
    example: Example,
    outputs: Outputs,
    signature: Signature,
    cotangents: tuple[Array, ...],
) -> Answer:
    moved = example._replace(cotangents=cotangents)
    found = raising(calls.call, rule, moved, outputs, signature)
    assert isinstance(found, Answer)
    return found


def _largest(row: Sequence[Any]) -> float:
    sizes = [float(np.max(np.abs(balls.nearest(j)), initial=0.0)) for j in row if j is not None]
    found = max(sizes, default=0.0)
    return found if np.isfinite(found) else np.inf


def directions(example: Example) -> list[list[Array | None]]:
    """Two: all ones, which moves what is tied together, and random signs."""
    rng = np.random.default_rng(0)
    moving = [is_differentiable(x) for x in example.arrays]
    ones: list[Array | None] = [
        np.ones(x.shape) if m else None for x, m in zip(example.arrays, moving, strict=True)
    ]
    signs: list[Array | None] = [
        np.asarray(rng.choice([-2.0, -1.0, 1.0, 2.0], x.shape)) if m else None
        for x, m in zip(example.arrays, moving, strict=True)
    ]
    return [ones, signs]


def judged(it: Quantity, record: Record, check: str, code: str, at: Array | None = None) -> None:
    """Record the errors of a quantity, and the inputs ``at`` which they were measured.

    Raises:
        Failure: they are too large.
    """
    found = judge.judge(it)
    if check == "value":
        record.value_worst = float(np.fmax(record.value_worst, _worst(found.errors)))
        if it.rivals and not it.flushed:
            theirs = float(np.fmax(record.autodiff_value_worst, _worst(found.rivals)))
            record.autodiff_value_worst = theirs
    else:
        record.worst = float(np.fmax(record.worst, _worst(found.errors)))
        if it.rivals and not it.flushed:
            record.autodiff_worst = float(np.fmax(record.autodiff_worst, _worst(found.rivals)))
            if at is not None:
                record.point(it.name, at, found.errors, found.rivals)
    record.decided(check, found.errors.size, found.undecided)
    if found.excused:
        record.excused[found.excused] = record.excused.get(found.excused, 0) + 1
    if found.place is None:
        record.saw(check)
        return
    place = found.place
    told = "".join(f"; {who} gives {rival[place]!s}" for who, rival in it.rivals.items())
    kink = judge.is_wide(it.truth, it.scale)[place] and it.exact
    what = " (any value in it: a kink)" if kink else "" if it.exact else " (estimated)"
    name = reproduce.indexed(it.name, place)
    ball = it.truth[place]
    size = abs(float(it.ours[place]))
    off = f"{size:.3g}" if ball == 0 and np.isfinite(size) else f"{found.errors[place]:.3g} ULP"
    error = f"off by {off}"
    unit = float(judge.ulp(np.asarray(it.scale)[place], it.ours.dtype))
    failure = Failure(
        check,
        f"{name}: got {it.ours[place]!s}, expected {judge.expected(ball)}{what}, {error}{told}",
    )
    failure.lines = reproduce.number(
        reproduce.indexed(code, place), ball, judge.TOLERANCE * unit, it.ours[place], error
    )
    record.saw(check, "fail", failure.reason)
    raise failure


def _worst(errors: Array) -> float:
    known = errors[~np.isnan(errors)]
    return float(np.max(known)) if known.size else 0.0 if errors.size == 0 else float("nan")


def _value_code(rule: Rule, it: Quantity, example: Example) -> str:
    name = it.name.split("[")[0]
    index = it.name[len(name) :]
    code = f"{rule.name}({', '.join(example.names)})" if name == "f" else "y"
    return f"jax.tree.leaves({code}){index}" if index else code


def _cotangent_code(rule: Rule, example: Example, leaf: int) -> str:
    """The cotangent of a leaf as the snippet names it."""
    path = example.paths[leaf]
    name = next(n for n in sorted(example.names, key=len, reverse=True) if _starts(path, n))
    fixed = fixed_arguments(rule)
    index = [n for i, n in enumerate(example.names) if i not in fixed].index(name)
    return f"cotangents[{index}]{path[len(name) :]}"


def _starts(path: str, name: str) -> bool:
    return path == name or path.startswith((f"{name}[", f"{name}."))


def _look_at_kinks(told: Oracle, example: Example, i: int, it: Quantity, record: Record) -> None:
    """Note which of the one-sided derivatives a rule takes at a kink."""
    if told.kind != "exact" or record.kinks >= 12:
        return
    wide = judge.is_wide(it.truth, it.scale)
    for place in np.argwhere(wide)[:3]:
        where_ = tuple(int(k) for k in place)
        left, right = truths.one_sided(told, example, i, where_)
        got = float(it.ours[where_])
        unit = judge.TOLERANCE * float(judge.ulp(np.asarray(it.scale)[where_], it.ours.dtype))
        if abs(left - right) <= 4 * unit:
            continue
        names = {"from the left": left, "from the right": right, "the mean": (left + right) / 2}
        name = next((n for n, v in names.items() if abs(got - v) <= unit), "between the two")
        as_jax = all(abs(float(r[where_]) - got) <= unit for r in it.rivals.values())
        record.kink(name + (", as JAX" if as_jax and it.rivals else ""))
