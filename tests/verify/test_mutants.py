"""Right rules, and what each mistake makes of them, by formulas written out here."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from purenn.typing import Array
from purenn.verify import mutants
from purenn.verify.mutants import BREACHES, MISTAKES, MUTANTS, Answered, Mutant, Vjp

Leaves = list[Array]
Answer = tuple[Leaves, Callable[[Leaves], list[Array | None]]]

DTYPES = (np.float32, np.float64)
every_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
every_mistake = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
NAMED = {mutant.name: mutant for mutant in MUTANTS}


def explain(xs: Leaves, dys: Leaves, dxs: list[Any], truth: Vjp) -> str:
    return mutants.explain([Answered(xs, dys, dxs, truth)])


def sech2(x: Array) -> Array:
    e = np.exp(-2 * np.abs(x))
    return np.asarray(4 * e / (1 + e) ** 2)


def tanh(xs: Leaves) -> Answer:
    return [np.asarray(np.tanh(xs[0]))], lambda dys: [np.asarray(dys[0] * sech2(xs[0]))]


def dense(xs: Leaves) -> Answer:
    x, kernel = xs
    return [x @ kernel], lambda dys: [dys[0] @ kernel.T, x.T @ dys[0]]


def probabilities(x: Array) -> Array:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True, initial=-99.0))
    return np.asarray(e / np.sum(e, axis=-1, keepdims=True))


def of_softmax(x: Array, dy: Array) -> Array:
    y = probabilities(x)
    return np.asarray(y * (dy - np.sum(y * dy, axis=-1, keepdims=True)))


def softmax(xs: Leaves) -> Answer:
    return [probabilities(xs[0])], lambda dys: [of_softmax(xs[0], dys[0])]


def mean_square_error(xs: Leaves) -> Answer:
    error = xs[0] - xs[1]
    dx = 2 * error / max(error.size, 1)
    y = np.sum(error**2) / max(error.size, 1)
    return [np.asarray(y)], lambda dys: [np.asarray(dys[0] * dx), np.asarray(-dys[0] * dx)]


def multiply(xs: Leaves) -> Answer:
    a, b = xs
    return [np.asarray(a * b)], lambda dys: [np.asarray(dys[0] * b), np.asarray(dys[0] * a)]


def cross_entropy(xs: Leaves) -> Answer:
    logits, labels = xs
    p = probabilities(logits)
    chosen = np.eye(logits.shape[-1], dtype=logits.dtype)[labels]
    y = np.asarray(-np.log(np.sum(p * chosen, axis=-1)))
    return [y], lambda dys: [(p - chosen) * dys[0][..., np.newaxis], None]


def two_outputs(xs: Leaves) -> Answer:
    (x,) = xs
    return [x**2, x[::-1] * 3], lambda dys: [2 * x * dys[0] + 3 * dys[1][::-1]]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).normal(size=shape))


X, DY, SQUARE, DY_SQUARE = normal(3, 4), normal(3, 4, seed=1), normal(3, 3), normal(3, 3, seed=1)
BATCH, KERNEL, DY_DENSE = normal(4, 3), normal(3, 2, seed=1), normal(4, 2, seed=2)
ROWS, DY_ROWS = normal(4, 3, seed=3), normal(4, 3, seed=4)
LABELS = np.array([1, 0, 2])
RANGE, DY_RANGE = np.array([0.0, 1.5, -1.5, -0.5, 0.8]), np.array([2.0, 4.0, 3.0, 0.0, -4.0])
SATURATED = np.array([12.0, -13.0, 14.0])
D, IN_RANGE = sech2(X), DY_RANGE * sech2(RANGE)
Y_SQUARE, Y = probabilities(SQUARE), probabilities(X)
MEAN = 2 / 12 * (X - DY)

CASES: dict[str, tuple[Vjp, Leaves, Leaves]] = {
    "tanh": (tanh, [X], [DY]),
    "range": (tanh, [RANGE], [DY_RANGE]),
    "saturated": (tanh, [SATURATED], [np.array([1.0, 2.0, 3.0])]),
    "dense": (dense, [BATCH, KERNEL], [DY_DENSE]),
    "square kernel": (dense, [ROWS, SQUARE], [DY_ROWS]),
    "softmax": (softmax, [X], [DY]),
    "square softmax": (softmax, [SQUARE], [DY_SQUARE]),
    "mean": (mean_square_error, [X, DY], [np.array(-1.7)]),
    "multiply": (multiply, [X, DY], [normal(3, 4, seed=2)]),
    "two outputs": (two_outputs, [X], [DY, X]),
    "cross entropy": (cross_entropy, [X, LABELS], [DY[:, 0]]),
}
DY_MULTIPLY = CASES["multiply"][2][0]

EXPECTED: dict[str, tuple[str, list[Any]]] = {
    "zeros": ("dense", [0 * BATCH, 0 * KERNEL]),
    "sign": ("tanh", [-DY * D]),
    "twice": ("tanh", [2 * DY * D]),
    "half": ("mean", [-1.7 * MEAN / 2, 1.7 * MEAN / 2]),
    "no dy": ("mean", [MEAN, -MEAN]),
    "dy": ("tanh", [DY]),
    "ones": ("cross entropy", [np.ones((3, 4)), None]),
    "no 1/N": ("mean", [-1.7 * 2 * (X - DY), 1.7 * 2 * (X - DY)]),
    "no 1/N of the first axis": ("softmax", [3 * of_softmax(X, DY)]),
    "no 1/N of the last axis": ("softmax", [4 * of_softmax(X, DY)]),
    "1/N": ("tanh", [DY * D / 12]),
    "1/N of the first axis": ("tanh", [DY * D / 3]),
    "1/N of the last axis": ("tanh", [DY * D / 4]),
    "1/N of dy": ("dense", [DY_DENSE @ KERNEL.T / 4, BATCH.T @ DY_DENSE / 4]),
    "|dy|": ("tanh", [np.abs(DY) * D]),
    "dy squared": ("mean", [1.7**2 * MEAN, -(1.7**2) * MEAN]),
    "reciprocal": ("tanh", [DY / D]),
    "first detached": ("multiply", [0 * X, DY_MULTIPLY * X]),
    "last detached": ("multiply", [DY_MULTIPLY * DY, 0 * X]),
    "swapped": ("multiply", [DY_MULTIPLY * X, DY_MULTIPLY * DY]),
    "transposed": ("square softmax", [of_softmax(SQUARE, DY_SQUARE).T]),
    "untransposed": ("square kernel", [DY_ROWS @ SQUARE, ROWS.T @ DY_ROWS]),
    "other axis": ("square softmax", [of_softmax(SQUARE.T, DY_SQUARE.T).T]),
    "diagonal": ("softmax", [Y * (1 - Y) * DY]),
    "coupling": ("softmax", [Y * (Y * DY - np.sum(Y * DY, axis=-1, keepdims=True))]),
    "first entry": ("tanh", [DY * D * np.eye(12)[0].reshape(3, 4)]),
    "first example": ("dense", [[[1], [0], [0], [0]] * (DY_DENSE @ KERNEL.T),
                                np.outer(BATCH[0], DY_DENSE[0])]),
    "last entry": ("tanh", [DY * D * (1 - np.eye(12)[11].reshape(3, 4))]),
    "rolled": ("range", [IN_RANGE[[4, 0, 1, 2, 3]]]),
    "at the output": ("tanh", [DY * sech2(np.tanh(X))]),
    "at -x": ("softmax", [of_softmax(-X, DY)]),
    "at |x|": ("softmax", [of_softmax(np.abs(X), DY)]),
    "clipped": ("range", [[1.0, *IN_RANGE[1:4], -1.0]]),
    "not below": ("tanh", [np.where(X < 0, 0, DY * D)]),
    "not above": ("range", [[2.0, 0.0, *IN_RANGE[2:4], 0.0]]),
    "saturation": ("saturated", [[2, 4, 6] * sech2(SATURATED)]),
    "at zero": ("range", [[1002.0, *IN_RANGE[1:]]]),
    "0/0": ("range", [[*IN_RANGE[:3], np.nan, IN_RANGE[4]]]),
    "1e-3": ("tanh", [1.001 * DY * D]),
    "1e-5": ("tanh", [1.00001 * DY * D]),
    "float16": ("tanh", [(DY * D).astype(np.float16).astype(np.float64)]),
}  # fmt: skip


def in_dtype(leaves: Leaves, dtype: Any) -> Leaves:
    """Copies, the integers as they are, and all of them read-only."""
    copies = [x.astype(dtype if x.dtype.kind == "f" else x.dtype) for x in leaves]
    for x in copies:
        x.setflags(write=False)
    return copies


def case(name: str, dtype: Any) -> tuple[Vjp, Leaves, Leaves]:
    vjp, xs, dys = CASES[name]
    return vjp, in_dtype(xs, dtype), in_dtype(dys, dtype)


def truthful(vjp: Vjp) -> Vjp:
    def truth(xs: Leaves) -> Answer:
        ys, pullback = vjp(in_dtype(xs, np.float64))
        return ys, lambda dys: pullback(in_dtype(dys, np.float64))

    return truth


def like(dxs: list[Array | None], others: list[Any]) -> bool:
    """In shape and dtype."""
    pairs = list(zip(dxs, others, strict=True))
    return all((dx is None) == (x is None) for dx, x in pairs) and all(
        isinstance(dx, np.ndarray) and (dx.shape, dx.dtype) == (x.shape, x.dtype)
        for dx, x in pairs
        if dx is not None
    )


def test_every_mutant_has_a_name_and_a_story_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.story for mutant in MUTANTS}) == len(MUTANTS)
    assert all(story[:1].islower() and story[-1] != "." for _, story, _ in MUTANTS)
    assert [mutant.name for mutant in MISTAKES] == list(EXPECTED)


@every_mistake
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mistake_does_what_its_story_tells(mistake: Mutant, dtype: Any) -> None:
    name, expected = EXPECTED[mistake.name]
    vjp, xs, dys = case(name, dtype)
    eps = float(np.finfo(dtype).eps)
    tolerance = 1e-3 if mistake.name == "float16" else 16 * eps
    ys, pullback = mistake.mutate(vjp)(xs)
    right_ys, right_pullback = vjp(xs)
    assert ys[0].tobytes() == right_ys[0].tobytes()
    found, right = pullback(dys), right_pullback(dys)
    assert like(found, right)
    differences = []
    for dx, wanted, unchanged in zip(found, expected, right, strict=True):
        if dx is None or unchanged is None:
            assert wanted is None
            continue
        size = float(np.max(np.abs(unchanged)))
        np.testing.assert_allclose(dx, wanted, rtol=tolerance, atol=tolerance * size)
        differences.append(np.max(np.abs(dx - unchanged)) / size)
    assert not max(differences) <= 8 * eps


@every_mistake
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mistake_is_recognised(mistake: Mutant, dtype: Any) -> None:
    vjp, xs, dys = case(EXPECTED[mistake.name][0], dtype)
    dxs = mistake.mutate(vjp)(xs)[1](dys)
    told = explain(xs, dys, dxs, truthful(vjp))
    if mistake.name == "1e-5" and dtype == np.float32:
        assert told == ""
    else:
        assert told.startswith("this is what you get if ")
        assert mistake.story in told
        assert told.count(" if ") <= 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_what_is_right_or_no_mistake_of_ours_is_not_explained(name: str, dtype: Any) -> None:
    vjp, xs, dys = case(name, dtype)
    right = vjp(xs)[1](dys)
    assert explain(xs, dys, right, truthful(vjp)) == ""
    odd = [None if dx is None else np.asarray(dx + 0.37 * np.max(dx)) for dx in right]
    assert explain(xs, dys, odd, truthful(vjp)) == ""


@pytest.mark.parametrize(
    ("name", "mutants", "told"),
    [
        ("square softmax", ["no 1/N"], "the mean's 1/N is forgotten (N = entries of the argument)"),
        ("saturated", ["zeros"],
         "the cotangent is left at zero, or if it is rounded to float16 on the way"),
        ("dense", ["sign", ""], "the sign is turned around, in cotangent 0 alone, or if the "
                                "derivative is evaluated at -x, in cotangent 0 alone"),
        ("dense", ["", "rolled"], "an index is off by one, in cotangent 1 alone"),
        ("dense", ["rolled", "sign"], None),
        ("range", ["no 1/N"], "the mean's 1/N is forgotten (N = entries of the argument)"),
        ("multiply", ["twice", "twice"], "there is a factor 2 too many"),
        ("multiply", ["zeros", ""], "the first argument is left out (zeros)"),
        ("two outputs", ["diagonal"],
         "the entries' coupling is dropped (the Jacobian's diagonal alone)"),
    ],
)  # fmt: skip
def test_the_sentence(name: str, mutants: list[str], told: str | None) -> None:
    vjp, xs, dys = case(name, np.float64)
    rules = [NAMED[its].mutate(vjp) if its else vjp for its in mutants]
    dxs = [rule(xs)[1](dys)[i] for i, rule in enumerate(rules)]
    expected = f"this is what you get if {told}" if told else ""
    assert explain(xs, dys, dxs, truthful(vjp)) == expected


def test_mistakes_with_the_same_result_are_both_named_and_no_third() -> None:
    x, dy = np.array([0.3]), np.array([1.0])
    two, dys = np.array([[0.3], [0.4]]), [np.ones((2, 1))]
    assert explain([two], dys, [2 * sech2(two)], tanh) == (
        "this is what you get if there is a factor 2 too many, "
        "or if the mean's 1/N is forgotten (N = entries of the argument)"
    )
    assert explain([x], [dy], [dy], tanh) == (
        "this is what you get if dy is passed through as it is, "
        "or if the cotangent is one everywhere"
    )
    assert explain([x], [dy], [0 * x], tanh) == (
        "this is what you get if the cotangent is left at zero, "
        "or if the cotangent is zero for positive inputs"
    )


def raises(xs: Leaves) -> Answer:
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    "dxs", [[], [None], [[0.0] * 12], [np.zeros(3)], [np.zeros((3, 4), int)], [X, X], ["zeros"]]
)
def test_nonsense_is_not_explained(dxs: Any) -> None:
    assert explain([X], [DY], dxs, tanh) == ""


def test_a_truth_that_raises_explains_nothing() -> None:
    assert explain([X], [DY], [0 * X], tanh) != ""
    assert explain([X], [DY], [0 * X], raises) == ""

    def only_here(xs: Leaves) -> Answer:
        return tanh(xs) if xs[0] is X else raises(xs)

    dxs = NAMED["float16"].mutate(tanh)([X])[1]([DY])
    assert NAMED["float16"].story in explain([X], [DY], dxs, only_here)


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.name)
def test_a_breach_of_the_contract_has_no_explanation(breach: Mutant) -> None:
    _, xs, dys = CASES["tanh"]
    xs, dys = [x.copy() for x in xs], [dy.copy() for dy in dys]
    dxs = breach.mutate(tanh)(xs)[1](dys)
    assert explain(*CASES["tanh"][1:], dxs, tanh) == ""


@pytest.mark.parametrize(("name", "change"), [("value", 1e-3), ("shifted value", None)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wrong_value(name: str, change: float | None, dtype: Any) -> None:
    vjp, xs, dys = case("tanh", dtype)
    ys, pullback = NAMED[name].mutate(vjp)(xs)
    y = np.tanh(X)
    expected = y * (1 + change) if change else y + 1e-3 * np.max(np.abs(y))
    np.testing.assert_allclose(ys[0], expected, rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert like(list(ys), dys)
    np.testing.assert_array_equal(pullback(dys)[0], vjp(xs)[1](dys)[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_wrong_shape_and_wrong_dtypes(dtype: Any) -> None:
    vjp, xs, dys = case("cross entropy", dtype)
    right = np.asarray(vjp(xs)[1](dys)[0])
    for name, shape, its in (
        ("shape", (1, 3, 4), dtype),
        ("float32", (3, 4), np.float32),
        ("float64", (3, 4), np.float64),
    ):
        dx, none = NAMED[name].mutate(vjp)(xs)[1](dys)
        assert none is None
        assert dx is not None
        assert (dx.shape, dx.dtype) == (shape, its)
        np.testing.assert_allclose(dx.reshape(3, 4), right, rtol=1e-6)


@pytest.mark.parametrize(("name", "changed"), [("writes to dy", 1), ("writes to x", 0)])
@pytest.mark.parametrize("its", ["cross entropy", "softmax"])
def test_what_is_written_to_even_if_it_is_read_only(name: str, changed: int, its: str) -> None:
    vjp, *given = case(its, np.float64)
    before = [[x.copy() for x in leaves] for leaves in given]
    for rule in (vjp, NAMED["dy"].mutate(vjp)):
        dxs = NAMED[name].mutate(rule)(given[0])[1](given[1])
        np.testing.assert_equal(given[changed], [-before[changed][0], *before[changed][1:]])
        np.testing.assert_equal(given[1 - changed], before[1 - changed])
        np.testing.assert_equal(dxs, rule(before[0])[1](before[1]))
        np.negative(given[changed][0], out=given[changed][0])


def test_what_cannot_be_written_to_is_refused_by_numpy() -> None:
    whole = X.copy()
    whole.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        NAMED["writes to x"].mutate(tanh)([whole[:2]])


@pytest.mark.parametrize("name", ["accumulates", "unsteady"])
def test_the_second_call_differs(name: str) -> None:
    vjp, xs, dys = case("cross entropy", np.float32)
    right = np.asarray(vjp(xs)[1](dys)[0])
    pullback = NAMED[name].mutate(vjp)(xs)[1]
    first, second = (np.asarray(pullback(dys)[0]) for _ in range(2))
    assert np.all(first != second)
    np.testing.assert_allclose(first, right, rtol=2e-7)
    np.testing.assert_allclose(second, 2 * right if name == "accumulates" else right, rtol=2e-7)


@every_mutant
@pytest.mark.parametrize("name", CASES)
def test_nothing_else_is_written_to(name: str, mutant: Mutant) -> None:
    if mutant.name.startswith("writes"):
        return
    vjp, xs, dys = case(name, np.float32)
    before = [x.tobytes() for x in (*xs, *dys)]
    pullback = mutant.mutate(vjp)(xs)[1]
    pullback(dys)
    pullback(dys)
    assert [x.tobytes() for x in (*xs, *dys)] == before
    assert not any(x.flags.writeable for x in (*xs, *dys))


@every_mutant
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("vjp", "shapes"),
    [
        *[(tanh, [shape]) for shape in ((), (0,), (1,), (0, 3), (0, 0))],
        *[(multiply, [shape, shape]) for shape in ((), (0, 2), (2, 0))],
        *[(mean_square_error, [shape, shape]) for shape in ((), (0,))],
        *[(softmax, [shape]) for shape in ((0, 3), (3, 0), (1, 1))],
        *[(dense, shapes) for shapes in ([(0, 3), (3, 2)], [(2, 0), (0, 2)], [(2, 3), (3, 0)])],
    ],
)
def test_numbers_and_empty_arrays(vjp: Vjp, shapes: Any, dtype: Any, mutant: Mutant) -> None:
    xs = [normal(*shape, seed=i).astype(dtype) for i, shape in enumerate(shapes)]
    dys = [np.ones_like(y) for y in vjp(xs)[0]]
    ys, pullback = mutant.mutate(vjp)(xs)
    assert like(list(ys), dys)
    dxs = pullback(dys)
    assert like(dxs, xs) == (mutant.name not in {"shape", "float64", "float32"} - {dtype.__name__})
    assert explain(xs, dys, dxs, truthful(vjp)).count(" if ") <= 2


def test_only_what_explains_every_failure_is_named() -> None:
    def without_1_over_n(x: Array) -> Answered:
        dy = np.linspace(-0.7, 1.3, x.size).reshape(x.shape)
        return Answered([x], [dy], [x.shape[-1] * dy * sech2(x)], tanh)

    square, wide = without_1_over_n(np.ones((3, 3))), without_1_over_n(np.ones((2, 3)))
    first, last = (
        f"the mean's 1/N is forgotten (N = length of the {of} axis)" for of in ("first", "last")
    )
    assert mutants.explain([square]) == f"this is what you get if {first}, or if {last}"
    assert mutants.explain([square, wide]) == f"this is what you get if {last}"
    assert mutants.explain([]) == ""
