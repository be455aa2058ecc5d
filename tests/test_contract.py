import inspect
import re
from typing import Any, TypedDict, get_args, get_type_hints

import ml_dtypes
import numpy as np
import pytest

from purenn import tree, verify
from purenn.contract import (
    admit,
    check_floating_dtype,
    check_function,
    check_integer,
    check_number,
    rule,
    unchecked,
)
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops.activations import relu
from purenn.typing import (
    Annotated,
    Array,
    Bool,
    Float,
    Index,
    Int,
    Interval,
    OneOf,
    Pullback,
    Spec,
    spec,
)
from purenn.verify import Rule, annotations, draw

RULES = verify.discover("purenn.ops", against="reference.ops")


def inputs(rule: Rule, case: int = -1) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that the rule takes, positional ones and keywords."""
    signature = annotations.signature([rule.f_vjp], {}, rule.cases)
    known, static = draw.sizes(signature)[case]
    hints = get_type_hints(inspect.unwrap(rule.derivative), include_extras=True)
    for name in inspect.signature(rule.f_vjp).parameters:
        values = [m.values for m in get_args(hints[name]) if isinstance(m, OneOf)]
        if values and name not in signature.positional:
            static = {name: values[0][0], **static}

    def build(its: Any) -> Any:
        if isinstance(its, annotations.Node):
            return its.build([build(child) for child in its.children])
        if its.holder is float:
            return 0.5
        shape = draw.shape(its, known)
        return np.full(shape, 0.5) if its.floating else np.zeros(shape, int)

    return {name: build(its) for name, its in signature.positional.items()}, static


def replaced(primals: dict[str, Any], path: tree.Path, x: Any) -> list[Any]:
    """The primals with another leaf at ``path``."""
    return [*tree.map_with_path(lambda p, leaf: x if p == path else leaf, primals).values()]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_door_refuses_what_is_no_array_and_wrong_dtypes(rule: Rule) -> None:
    good, static = inputs(rule)
    assert rule.f is not None
    rule.f(*good.values(), **static)
    for path, x in tree.leaves_with_paths(good):
        if not isinstance(x, np.ndarray):
            continue
        name = re.escape(str(path[0]) + tree.show(path[1:]))
        wrong = np.int32 if x.dtype.kind == "f" else np.float64
        with pytest.raises(DtypeError, match=rf"{rule.name}: {name} has dtype {wrong.__name__}"):
            rule.f(*replaced(good, path, x.astype(wrong)), **static)
        with pytest.raises(
            DtypeError, match=rf"{rule.name}\w*: {name} is a list, expected a NumPy"
        ):
            rule.f_vjp(*replaced(good, path, [x.tolist()]), **static)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_pullback_refuses_a_cotangent_that_does_not_fit(rule: Rule) -> None:
    good, static = inputs(rule)
    y, pullback = rule.f_vjp(*good.values(), **static)
    where = rf"{rule.name}_vjp: dy[\[\]\d]* has"
    with pytest.raises(ShapeError, match=f"{where} shape"):
        pullback(tree.map(lambda leaf: np.ones((7, *leaf.shape)), y))
    with pytest.raises(DtypeError, match=f"{where} dtype float32"):
        pullback(tree.map(lambda leaf: np.ones(leaf.shape, np.float32), y))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_door_keeps_name_text_and_signature(rule: Rule) -> None:
    assert rule.f is not None
    for function in (rule.f, rule.f_vjp):
        assert inspect.getdoc(function)
        assert inspect.signature(function) == inspect.signature(unchecked(function))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_half_precision_is_rounded_once(rule: Rule, dtype: Any) -> None:
    good, static = inputs(rule, case=0)
    rng = np.random.default_rng(0)

    def half(x: Any) -> Any:
        is_float = isinstance(x, np.ndarray) and x.dtype.kind == "f"
        return np.asarray(rng.uniform(0.1, 0.9, x.shape), dtype) if is_float else x

    def single(x: Any) -> Any:
        is_half = isinstance(x, np.ndarray) and x.dtype == dtype
        return x.astype(np.float32) if is_half else x

    primals = tree.map(half, good)
    y, pullback = rule.f_vjp(*primals.values(), **static)
    y32, pullback32 = rule.f_vjp(*tree.map(single, primals).values(), **static)
    dy = tree.map(half, tree.map(single, y))
    halves = tree.leaves((y, pullback(dy)))
    singles = tree.leaves((y32, pullback32(tree.map(single, dy))))
    eps, least = (2.0**-10, 2.0**-24) if dtype is np.float16 else (2.0**-7, 2.0**-133)
    for ours, theirs in zip(halves, singles, strict=True):
        if isinstance(ours, np.ndarray):
            assert ours.dtype == dtype
            scale = np.max(np.abs(theirs), initial=0.0)
            np.testing.assert_allclose(single(ours), theirs, rtol=eps, atol=eps / 8 * scale + least)


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


class Inner(TypedDict):
    kernel: Float[Array, "in out"]
    ids: Annotated[Int[Array, " out"], Index("in")]


class Outer(TypedDict):
    hidden: Inner
    bias: Float[Array, " out"] | None


Pair = tuple[Float[Array, "*batch out"], Float[Array, " out"]]


@rule
def of_trees_vjp(
    params: Outer, x: Float[Array, "*batch in"], *, mask: Bool[Array, "..."] | None = None
) -> tuple[Pair, Pullback]:
    y = x @ params["hidden"]["kernel"], np.ones(params["hidden"]["kernel"].shape[1], x.dtype)
    return y, lambda dy: (params, x)


def params(**leaves: Any) -> Any:
    hidden = {"kernel": np.ones((3, 2)), "ids": np.array([0, 2])}
    bias = leaves.pop("bias", np.ones(2))
    return {"hidden": hidden | leaves, "bias": bias}


def test_trees_are_let_in() -> None:
    x = np.ones((5, 3))
    y, pullback = of_trees_vjp(params(), x)
    pullback(y)
    of_trees_vjp(params(bias=None), x, mask=np.ones((1, 5), bool))
    of_trees_vjp(params(), x, mask=None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([1, 2], TreeError, "params is a list, expected a dict"),
        ({"bias": np.ones(2)}, TreeError, "params has keys ['bias'], expected ['hidden', 'bias']"),
        (params(more=1), TreeError, """params["hidden"] has keys ['kernel', 'ids', 'more'], exp"""),
        (params(kernel=None), DtypeError, 'params["hidden"]["kernel"] is a NoneType, expected a'),
        (
            params(kernel=np.ones((3, 4))),
            ShapeError,
            'params["hidden"]["ids"] has shape (2,); expected (out) with out = 4',
        ),
        (
            params(bias=np.ones(2, np.float32)),
            DtypeError,
            'params["bias"] has dtype float32 and params["hidden"]["kernel"] float64',
        ),
        (
            params(ids=np.array([0, 3])),
            DomainError,
            'params["hidden"]["ids"][1] is 3, expected 0 to 2 (in − 1)',
        ),
    ],
)
def test_a_tree_that_does_not_fit_is_refused_by_path(
    arguments: Any, error: type[Exception], message: str
) -> None:
    door: Any = of_trees_vjp
    with pytest.raises(error, match=re.escape(f"of_trees_vjp: {message}")):
        door(arguments, np.ones((5, 3)))


def test_a_mask_is_boolean() -> None:
    with pytest.raises(DtypeError, match="mask has dtype int64, expected bool"):
        of_trees_vjp(params(), np.ones((5, 3)), mask=np.ones(5, np.int64))


@pytest.mark.parametrize(
    ("dy", "error", "message"),
    [
        (np.ones((5, 2)), TreeError, "dy is a ndarray, expected a tuple of 2"),
        ((np.ones((5, 2)),), TreeError, "dy is a tuple of 1, expected one of 2"),
        ((np.ones((5, 2)), 1.0), DtypeError, "dy[1] is a float, expected a NumPy array"),
        ((np.ones(2), np.ones(2)), ShapeError, "dy[0] has shape (2,), expected that of y[0], (5"),
    ],
)
def test_a_cotangent_is_a_tree_like_the_value(
    dy: Any, error: type[Exception], message: str
) -> None:
    _, pullback = of_trees_vjp(params(), np.ones((5, 3)))
    with pytest.raises(error, match=re.escape(f"of_trees_vjp: {message}")):
        pullback(dy)


def test_what_an_annotation_says() -> None:
    array = Spec(("out",), "floating", (), optional=True)
    assert spec(Float[Array, " out"] | None) == array
    assert spec(tuple[Float[Array, " out"], Bool[Array, "..."]]) == (
        Spec(("out",), "floating", ()),
        Spec(("...",), "boolean", ()),
    )
    for other in (int, int | None, tuple[int, int], int | Float[Array, ""], tuple[int, ...]):
        assert spec(other) is None


def test_dimensions_may_be_known_before() -> None:
    specs = {"x": Spec(("batch", "in"), "floating", ())}
    admit("layer", specs, {"x": np.ones((2, 3))}, {"in": 3})
    with pytest.raises(
        ShapeError, match=r"layer: x has shape .* expected \(batch, in\) with in = 4"
    ):
        admit("layer", specs, {"x": np.ones((2, 3))}, {"in": 4})


def test_options_are_checked_in_one_voice() -> None:
    assert check_integer("f", "size", np.int64(3), least=1) == 3
    assert check_number("f", "rate", np.float32(0.5), ge=0, lt=1) == 0.5
    assert check_number("f", "alpha", -2) == -2
    for value in (True, 2.0, "2", None, np.array(2)):
        with pytest.raises(DtypeError, match=r"f: size is .*, expected an int"):
            check_integer("f", "size", value)
    with pytest.raises(DomainError, match="f: size is 0, expected at least 1"):
        check_integer("f", "size", 0, least=1)
    for what in (True, "0.5", None, np.array([0.5]), 1j):
        with pytest.raises(DtypeError, match=r"f: rate is .*, expected a number"):
            check_number("f", "rate", what)
    for number in (1.0, -0.1, np.nan):
        with pytest.raises(DomainError, match=f"f: rate is {number}, expected a finite n"):
            check_number("f", "rate", number, ge=0, lt=1)
    with pytest.raises(DomainError, match=r"f: alpha is inf, expected a finite number$"):
        check_number("f", "alpha", np.inf)
    for nothing in (3, None, "f"):
        with pytest.raises(DtypeError, match=f"f: curve is {nothing!r}, expected a function"):
            check_function("f", "curve", nothing)


def test_dtypes_that_the_rules_keep() -> None:
    for dtype in (None, "float16", ml_dtypes.bfloat16, np.float32, np.dtype(float)):
        check_floating_dtype("f", "dtype", dtype)
    for wrong in (int, complex, object, bool, ">f4", np.longdouble, "S3", [("x", "f4")]):
        with pytest.raises(DtypeError, match=r"f: dtype has dtype .*, expected "):
            check_floating_dtype("f", "dtype", wrong)
    for nothing in ("floats", 3, np.ones(2)):
        with pytest.raises(DtypeError, match=r"f: dtype is .*, expected a floating dtype"):
            check_floating_dtype("f", "dtype", nothing)


def test_arrays_of_another_kind_are_refused() -> None:
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0]])
    for other in (np.ma.masked_invalid([1.0, np.nan]), matrix):
        with pytest.raises(DtypeError, match=f"relu: x is a {type(other).__name__}, expected a N"):
            relu(other)
    with pytest.raises(DtypeError, match="relu: x has dtype >f4, expected native byte order"):
        relu(np.ones(2, ">f4"))
