"""What must hold without any oracle: purity, a second call, linearity, the adjoint identity."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import balls, calls, draw, floats
from purenn.verify.annotations import Signature
from purenn.verify.balls import Balls
from purenn.verify.calls import Answer, Failure, Outputs
from purenn.verify.examples import Example, is_differentiable
from purenn.verify.judge import TOLERANCE, ulp
from purenn.verify.reproduce import earlier_calls, literal
from purenn.verify.rules import Rule
from purenn.verify.truths import Truth


def pure(
    rule: Rule, example: Example, outputs: Outputs, signature: Signature, first: Answer
) -> None:
    """A second call gives the same bits, also after other calls; no argument is written to.

    Raises:
        Failure: it does not.
    """
    with calls.quietly(calls.is_wide(example)):
        primals = calls.given(example, signature)
        before = _numpy(primals)
        y, pullback = rule.f_vjp(*primals, **dict(example.static))
        dy = calls.cotangent_of(example, outputs, y)
        before_dy = _numpy(dy)
        answers = []
        for _ in range(2):  # each with its own look: what is negated twice is as it was
            answers.append(calls.cotangent_leaves(rule, example, pullback(dy)))
            for what, x, was in (("an argument", primals, before), ("dy", dy, before_dy)):
                if calls.bits(_numpy(x)) != calls.bits(was):
                    told = f"{what} was written to"
                    raise Failure("arguments untouched", told, *_compared(example))
        afresh, again = answers
        value = calls.value_leaves(y, outputs, "y")
        elsewhere = draw.elsewhere(signature, example)
        for other in elsewhere:
            with suppress(Exception):
                rule.f_vjp(*calls.given(other, signature), **dict(example.static))[1](dy)
        later = calls.cotangent_leaves(rule, example, pullback(dy))
    for other_answer, what, between in (
        (afresh, "a second call of the rule", []),
        (again, "a second call of the pullback", []),
        (later, "the pullback after calls with other arguments", elsewhere),
    ):
        for name, one, two in zip(example.paths, other_answer, first.cotangents, strict=True):
            if one is not None and two is not None and one.tobytes() != two.tobytes():
                raise Failure(
                    "same bits again", f"d{name}: {what} gives other bits", *_twice(rule, between)
                )
    if calls.bits(value) != calls.bits(first.value):
        raise Failure("same bits again", "y: a second call of the rule gives other bits")


def _twice(rule: Rule, between: Sequence[Example]) -> list[str]:
    """Lines that compare two calls, with others between them."""
    return [
        "first = [np.asarray(c).tobytes() for c in jax.tree.leaves(cotangents)]",
        *earlier_calls(rule, between),
        "again = [np.asarray(c).tobytes() for c in jax.tree.leaves(pullback(dy))]",
        "assert first == again, (cotangents, pullback(dy))",
    ]


def _compared(example: Example) -> list[str]:
    """Lines that compare the arguments with what they were."""
    before = ", ".join(literal(x) for x in example.primals)
    dys = ", ".join(literal(dy) for dy in example.cotangents)
    return [
        f"before = ({before}, {dys})",
        f"after = ({', '.join(example.names)}, dy)",
        "for one, other in zip(jax.tree.leaves(before), jax.tree.leaves(after)):",
        "    np.testing.assert_array_equal(one, other)",
    ]


def _numpy(tree: Any) -> list[Array]:
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


def linear(
    again: Callable[[tuple[Array, ...]], Answer],
    example: Example,
    first: Answer,
    scales: Sequence[Array | None],
    sizes: Sequence[float],
    is_wrong: Callable[[tuple[Array, ...], Answer], bool],
) -> None:
    """pullback(a + b) is pullback(a) + pullback(b), to half of the digits.

    ``scales`` are |J|ᵀ|dy|, ``sizes`` the largest entry of J, per argument. A rule that loses
    more digits is still linear if what it gives for b and a + b is right as ``is_wrong`` has it.

    Raises:
        Failure: it is not.
    """
    rng = np.random.default_rng(0)
    other = tuple(
        np.asarray(dy + rng.choice([-3, 2], dy.shape), dy.dtype) if is_differentiable(dy) else dy
        for dy in example.cotangents
    )
    both = tuple(
        np.asarray(a + b, a.dtype) if is_differentiable(a) else a
        for a, b in zip(example.cotangents, other, strict=True)
    )
    second, sum_ = again(other), again(both)
    asked = -1
    largest = max(map(_size, both), default=0.0)
    for i, name in enumerate(example.paths):
        one, two, three = (answer.cotangents[i] for answer in (first, second, sum_))
        scale = scales[i]
        if one is None or two is None or three is None or scale is None:
            continue
        asked += 1
        eps, tiny = floats.eps(one.dtype), floats.tiny(one.dtype)
        # What a formula that cancels is left with is a rounding of its terms, as large as y.
        size = max(sizes[i], *map(_size, first.value))
        limit = floats.largest(one.dtype) / 64
        with np.errstate(all="ignore"):
            gap = np.abs(three.astype(np.float64) - one.astype(np.float64) - two.astype(np.float64))
            allowed = np.sqrt(eps) * (scale + np.abs(one) + np.abs(two))
            allowed = allowed + 1e3 * eps * size * (largest + 4) + tiny
            wrong = (gap > allowed) & np.isfinite(gap) & (size * (largest + 4) < limit)
        if wrong.any() and (is_wrong(other, second) or is_wrong(both, sum_)):
            place = tuple(int(k) for k in np.argwhere(wrong)[0])
            raise Failure(
                "linear in dy",
                f"d{name}{list(place) if place else ''}: the pullback of dy + dy2 gives "
                f"{three[place]!s}, the pullbacks of both {one[place]!s} and {two[place]!s}",
                f"dy2 = {literal(other[0] if len(other) == 1 else other)}",
                "both = jax.tree.map(np.add, dy, dy2)",
                "one, two, three = (jax.tree.leaves(pullback(d)) for d in (dy, dy2, both))",
                f"one, two, three = one[{asked}], two[{asked}], three[{asked}]",
                f"gap = np.abs(three - one - two){list(place) if place else ''}",
                f"assert gap <= {float(allowed[place])!r}, gap",
            )


def _size(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0)) if is_differentiable(x) else 0.0


def adjoint(
    example: Example,
    first: Answer,
    v: Sequence[Array | None],
    pushed: Sequence[Balls],
    truth: Truth,
    rounding: float,
) -> None:
    """⟨dy, J·v⟩ = ⟨Jᵀdy, v⟩, but for the errors that each entry of Jᵀdy is allowed.

    At a tie of a maximum it says what single entries cannot: that they share one derivative.
    ``rounding`` is what an entry is allowed besides where the truth is an estimate.

    Raises:
        Failure: it does not hold.
    """
    left = sum(
        (
            np.sum(balls.from_floats(dy) * np.asarray(t, object))
            for dy, t in zip(example.cotangents, pushed, strict=True)
            if dy.size and dy.dtype != jax.dtypes.float0
        ),
        balls.zeros(()).item(),
    )
    right, slack, size = 0.0, 0.0, 0.0
    for t, dx, exact, scale in zip(
        v, first.cotangents, truth.cotangents, truth.cotangent_scales, strict=True
    ):
        if t is None or dx is None or exact is None or scale is None:
            continue
        with np.errstate(all="ignore"):
            off = balls.distance(dx, exact)
            right += float(np.sum(dx.astype(np.float64) * t))
            slack += float(np.sum(np.abs(t) * (TOLERANCE * ulp(scale, dx.dtype) + off + rounding)))
            size += float(np.sum(np.abs(t) * scale))
    if not (np.isfinite(right) and np.isfinite(slack) and np.isfinite(float(abs(left).upper()))):
        return
    gap = float(balls.distance(np.asarray(right), np.asarray(left, object)))
    low, high = float(left.mid()) - float(left.rad()), float(left.mid()) + float(left.rad())
    # An estimate is there to see what is tied, which is not a matter of digits.
    slack += (1e-2 if rounding else 1e-12) * size
    if gap > slack:
        raise Failure(
            "adjoint",
            f"⟨Jᵀdy, v⟩ is {right:.9g} and ⟨dy, J·v⟩ {_between(left)} for v = "
            + ("1" if all(t is None or np.all(t == 1) for t in v) else "random signs"),
            f"v = {literal([t for t in v if t is not None])}",
            "found = [c for c in jax.tree.leaves(cotangents) if c.dtype != jax.dtypes.float0]",
            "got = sum(float(np.sum(c * t)) for c, t in zip(found, v))",
            f"assert {low - slack!r} <= got <= {high + slack!r}, got",
        )


def _between(ball: Any) -> str:
    middle, radius = float(ball.mid()), float(ball.rad())
    if radius <= 1e-9 * abs(middle):
        return f"{middle:.9g}"
    return f"{middle - radius:.9g} to {middle + radius:.9g}"
