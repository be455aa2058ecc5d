import decimal
from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import jax
import ml_dtypes
import numpy as np
import optax
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from purenn import tree
from purenn.errors import DtypeError, ShapeError, TreeError


class Pair(NamedTuple):
    first: Any
    second: Any


ARRAYS = st.lists(st.integers(0, 3), max_size=2).map(lambda shape: np.ones(shape))
TREES = st.recursive(
    ARRAYS | st.none(),
    lambda children: (
        st.dictionaries(st.text("abc", min_size=1), children, max_size=3)
        | st.dictionaries(st.text("abc", min_size=1), children, max_size=3).map(OrderedDict)
        | st.dictionaries(st.text("abc", min_size=1), children, max_size=3).map(
            lambda its: defaultdict(list, its)
        )
        | st.lists(children, max_size=2)
        | st.tuples(children, children)
        | st.builds(Pair, children, children)
    ),
    max_leaves=6,
)


# Dicts of other kinds, which few draws have with keys that are not in order.
OTHERS: Any = OrderedDict(b=np.ones(2), a=defaultdict(None, {"d": np.ones(1), "c": np.ones(3)}))


def numbered(shape: Any) -> Any:
    """The tree with the numbers 0, 1, 2, … in its leaves."""
    count = iter(range(1000))
    return jax.tree.map(
        lambda x: np.array([next(count) for _ in x.flat]).reshape(x.shape) * 1.0, shape
    )


def same_structure(a: Any, b: Any) -> bool:
    return bool(jax.tree.structure(a) == jax.tree.structure(b))  # type: ignore[operator]


@example(OTHERS)
@given(TREES)
def test_leaves_and_paths_are_those_of_jax(shape: Any) -> None:
    ours = numbered(shape)
    theirs = jax.tree_util.tree_leaves_with_path(ours)
    assert len(theirs) == len(tree.leaves(ours))
    for (path, leaf), (jax_path, jax_leaf) in zip(
        tree.leaves_with_paths(ours), theirs, strict=True
    ):
        assert leaf is jax_leaf
        steps = [getattr(s, "key", getattr(s, "idx", getattr(s, "name", None))) for s in jax_path]
        assert list(path) == steps


@example(OTHERS)
@given(TREES)
def test_map_over_several_trees(shape: Any) -> None:
    ours = numbered(shape)
    doubled = tree.map(np.add, ours, ours)
    expected = jax.tree.map(np.add, ours, ours)
    assert same_structure(doubled, ours)
    for a, b in zip(tree.leaves(doubled), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@example(OTHERS)
@given(TREES)
def test_ravel_is_that_of_jax_and_comes_back(shape: Any) -> None:
    ours = numbered(shape)
    vector, unravel = tree.ravel(ours)
    np.testing.assert_array_equal(vector, ravel_pytree(ours)[0])
    back = unravel(vector)
    assert same_structure(back, ours)
    tree.map(np.testing.assert_array_equal, back, ours)


def test_zeros_like_keeps_shapes_and_dtypes() -> None:
    zeros = tree.zeros_like({"a": np.ones((2, 3), np.float32), "b": [np.ones(1, int), None]})
    assert zeros["a"].dtype == np.float32
    assert zeros["b"][0].dtype == int
    assert not any(leaf.any() for leaf in tree.leaves(zeros))


def test_a_mismatch_names_the_path() -> None:
    ours = {"hidden": {"kernel": np.ones(2), "bias": np.ones(1)}, "out": (np.ones(1), np.ones(1))}
    cases = {
        r'at \["hidden"\]: got keys \[\'kernel\'\], expected keys': {
            "hidden": {"kernel": 0},
            "out": ours["out"],
        },
        r'at \["hidden"\]\["bias"\]: got a dict, expected a leaf': {
            "hidden": {"kernel": 0, "bias": {}},
            "out": ours["out"],
        },
        r'at \["out"\]: got a list, expected a tuple': ours | {"out": [0, 0]},
        r'at \["out"\]\[1\]: got a NoneType, expected a leaf': ours | {"out": (0, None)},
        r"at the root: got a leaf, expected a dict": np.ones(2),
    }
    for message, other in cases.items():
        with pytest.raises(TreeError, match=message):
            tree.map(np.add, ours, other)


def test_check_like_names_leaf_and_difference() -> None:
    like = {"a": {"kernel": np.ones((2, 3), np.float32)}}
    tree.check_like("grads", like, like)
    with pytest.raises(ShapeError, match=r'grads\["a"\]\["kernel"\] has shape \(3,\), expected'):
        tree.check_like("grads", {"a": {"kernel": np.ones(3, np.float32)}}, like)
    with pytest.raises(DtypeError, match=r"has dtype float64, expected float32"):
        tree.check_like("grads", {"a": {"kernel": np.ones((2, 3))}}, like)
    with pytest.raises(DtypeError, match=r'grads\["a"\]\["kernel"\] is a float, expected an array'):
        tree.check_like("grads", {"a": {"kernel": 1.0}}, like)
    with pytest.raises(TreeError, match=r"grads: trees differ at the root"):
        tree.check_like("grads", {}, like)


def test_ravel_refuses_what_has_no_one_vector() -> None:
    with pytest.raises(DtypeError, match=r"leaves have dtypes \['float32', 'float64'\]"):
        tree.ravel([np.ones(1, np.float32), np.ones(1)])
    _, unravel = tree.ravel([np.ones((2, 2)), np.ones(1)])
    with pytest.raises(ShapeError, match=r"vector has shape \(4,\), expected \(5,\)"):
        unravel(np.ones(4))


FLOATS = st.sampled_from("efd").flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, min_side=0),
        elements=hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False),
    )
)


@given(st.lists(FLOATS, max_size=3))
def test_norm_is_right_at_any_magnitude(leaves: Any) -> None:
    with decimal.localcontext(prec=60):
        squares = [decimal.Decimal(float(x)) ** 2 for leaf in leaves for x in leaf.flat]
        expected = float(sum(squares, decimal.Decimal(0)).sqrt())
    with np.errstate(all="raise"):
        norm = tree.norm(leaves)
    np.testing.assert_allclose(norm, expected, rtol=2e-15, atol=0)


@given(st.integers(0, 2**32))
def test_norm_is_that_of_optax(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = [(1,), (40, 7), (0, 3), (20_000,)]
    values = {"a": [rng.normal(size=size) * 10.0 ** rng.integers(-9, 9) for size in sizes]}
    np.testing.assert_allclose(tree.norm(values), jax.jit(optax.tree.norm)(values), rtol=1e-12)


def test_norm_of_a_few_numbers() -> None:
    pythagoras = {"a": np.array([[3.0]]), "b": [None, np.array(-4.0, np.float32)]}
    assert tree.norm(pythagoras) == 5
    assert type(tree.norm(pythagoras)) is float
    assert tree.norm({}) == tree.norm(np.zeros((0, 3))) == tree.norm(np.zeros(3)) == 0
    assert tree.norm(np.full(4, 1e200)) == 2e200
    assert tree.norm(np.full(4, 1e-160)) == 2e-160
    assert tree.norm(np.full(4, 5e-324)) == 1e-323
    assert tree.norm(np.full(4, 1.7e308)) == np.inf


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_norm_of_every_dtype_and_layout(dtype: Any) -> None:
    x = np.random.default_rng(0).normal(size=(300, 100)).astype(dtype)
    norm = tree.norm(x)
    np.testing.assert_allclose(norm, np.linalg.norm(x.astype(float)), rtol=1e-14)
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x[::-1][::-1]):
        assert tree.norm(same) == norm
    for bad, expected in ((np.inf, np.inf), (-np.inf, np.inf), (np.nan, np.nan)):
        leaves = [x, np.array([bad, 1], dtype), np.array([np.finfo(float).max])]
        np.testing.assert_equal(tree.norm(leaves), expected)
    np.testing.assert_equal(tree.norm([np.array(np.inf), np.array(np.nan)]), np.nan)
    tiny = np.nextafter(dtype(0), dtype(1))
    assert tree.norm(np.full(4, tiny)) == 2 * float(tiny)


@pytest.mark.parametrize(
    ("leaf", "got"),
    [
        (np.array([1, 2]), "has dtype int64"),
        (np.array([1j]), "has dtype complex128"),
        (np.ma.ones(2), "is a MaskedArray"),
        (1.0, "is a float"),
    ],
)
def test_norm_of_what_is_no_float_is_refused(leaf: Any, got: str) -> None:
    with pytest.raises(DtypeError, match=rf'norm: tree\["a"\]\[0\] {got}, expected'):
        tree.norm({"a": [leaf]})
