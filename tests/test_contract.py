import inspect
from typing import Any

import numpy as np
import pytest

from purenn import verify
from purenn.contract import rule, unchecked
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.typing import Annotated, Array, Float, Int, Interval, Pullback, spec
from purenn.verify import Rule, annotations, draw

RULES = verify.discover("purenn.ops", against="reference.ops")


def inputs(rule: Rule) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arguments that the rule takes, positional ones and keywords."""
    signature = annotations.signature([rule.f_vjp], {}, rule.cases)
    specs = signature.positional
    known, static = draw.sizes(signature)[-1]
    shapes = {name: draw.shape(its, known) for name, its in specs.items()}
    arrays = {
        name: np.full(shapes[name], 0.5) if its.floating else np.zeros(shapes[name], int)
        for name, its in specs.items()
    }
    return arrays, static


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_door_refuses_what_is_no_array_and_wrong_dtypes(rule: Rule) -> None:
    good, static = inputs(rule)
    assert rule.f is not None
    rule.f(*good.values(), **static)
    for name, x in good.items():
        wrong = np.int32 if x.dtype.kind == "f" else np.float64
        with pytest.raises(DtypeError, match=rf"{rule.name}: {name} has dtype {wrong.__name__}"):
            rule.f(*(good | {name: x.astype(wrong)}).values(), **static)
        with pytest.raises(
            DtypeError, match=rf"{rule.name}\w*: {name} is a list, expected a NumPy"
        ):
            rule.f_vjp(*(good | {name: x.tolist()}).values(), **static)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_pullback_refuses_a_cotangent_that_does_not_fit(rule: Rule) -> None:
    good, static = inputs(rule)
    y, pullback = rule.f_vjp(*good.values(), **static)
    with pytest.raises(ShapeError, match=f"{rule.name}_vjp: dy has shape"):
        pullback(np.ones((7, *y.shape)))
    with pytest.raises(DtypeError, match=f"{rule.name}_vjp: dy has dtype float32"):
        pullback(np.ones(y.shape, np.float32))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_door_keeps_name_text_and_signature(rule: Rule) -> None:
    assert rule.f is not None
    for function in (rule.f, rule.f_vjp):
        assert inspect.getdoc(function)
        assert inspect.signature(function) == inspect.signature(unchecked(function))


@rule
def example(
    x: Float[Array, "*batch 3 _"],
    scale: Annotated[Float[Array, " *batch"], Interval(gt=0, lt=9)],
    *,
    factor: float = 1.0,
) -> Float[Array, "*batch 3 _"]:
    return x * scale[..., np.newaxis, np.newaxis] * factor


@rule
def example_vjp(x: Float[Array, " n"], n: Int[Array, " n"]) -> tuple[Float[Array, " n"], Pullback]:
    return x, lambda dy: (dy, None)


def test_dimensions() -> None:
    assert example(np.ones((2, 3, 5)), np.ones(2), factor=2).shape == (2, 3, 5)
    assert example(np.ones((3, 5)), np.array(1.0)).shape == (3, 5)
    with pytest.raises(ShapeError, match=r"x has shape \(2, 4, 5\); expected .* with 3 = 3"):
        example(np.ones((2, 4, 5)), np.ones(2))
    with pytest.raises(ShapeError, match=r"scale has shape \(3,\); .* with batch = \(2,\)"):
        example(np.ones((2, 3, 5)), np.ones(3))
    with pytest.raises(ShapeError, match=r"x has shape \(3,\), which is of rank 1"):
        example(np.ones(3), np.ones(()))
    with pytest.raises(ShapeError, match=r"rank 2; expected \(n\)"):
        example_vjp(np.ones((2, 2)), np.ones(2, int))


@pytest.mark.parametrize("value", [0.0, 9.0, -1.0, np.nan, np.inf])
def test_an_open_interval_has_no_ends(value: float) -> None:
    with pytest.raises(DomainError, match=r"scale\[1\] is .*, expected > 0 and < 9"):
        example(np.ones((2, 3, 5)), np.array([1.0, value]))


def test_more_digits_than_the_rules_keep_are_refused() -> None:
    if np.longdouble is not np.float64 and np.finfo(np.longdouble).nmant > 52:
        with pytest.raises(DtypeError, match="expected a floating dtype"):
            example(np.ones((3, 1), np.longdouble), np.ones((), np.longdouble))


def test_dimensions_that_are_not_understood_are_refused() -> None:
    for dims in ("2*n", "#n", "n=3"):
        with pytest.raises(TypeError, match="only names, sizes"):
            spec(Float[Array, dims])


def test_behind_the_door_nothing_is_asked() -> None:
    assert unchecked(example_vjp) is not example_vjp
    with pytest.raises(TypeError, match="missing a required argument: 'scale'"):
        example(np.ones((3, 1)))  # type: ignore[call-arg]
