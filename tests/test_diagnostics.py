"""Diagnostics against their definitions in JAX, and in networks with a known illness."""

import inspect
import math
import re
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

import reference.diagnostics
from purenn import diagnostics, initializers, layers, random, tree
from purenn.diagnostics import (
    Statistics,
    dead_units,
    gradient_flow,
    nonfinite,
    saturation,
    statistics,
    table,
    update_ratios,
)
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import losses
from purenn.training import objective

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
UNARY = {
    "statistics": "values",
    "gradient_flow": "grads",
    "dead_units": "values",
    "nonfinite": "values",
}


def arrays(elements: Any, min_side: int = 1, min_dims: int = 1) -> Any:
    shapes = hnp.array_shapes(min_dims=min_dims, min_side=min_side, max_side=4)
    return hnp.arrays(np.float64, shapes, elements=elements)


TAME = st.floats(-100, 100).map(lambda x: round(x, 2))
WILD = st.floats() | st.sampled_from([0.0, 1e200, -1e200, 1e308, 5e-324, math.inf, math.nan])
TREES = st.recursive(
    arrays(WILD, 0, 0),
    lambda children: (
        st.dictionaries(st.sampled_from(["kernel", "embedding", "b"]), children, max_size=3)
        | st.lists(children, max_size=2)
        | st.none()
    ),
    max_leaves=5,
)


def gradients(model: Any, shape: Any, classes: int = 10, change: Any = None) -> Any:
    """The parameters of a classifier and their gradients on 64 random examples."""
    params, state, _ = model.init(random.key(1), shape)
    params = params if change is None else change(params)
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(64, *shape)).astype(np.float32), rng.integers(0, classes, 64)
    loss = losses.softmax_cross_entropy_with_integer_labels
    return params, objective(model, loss).grad(params, state, batch)


def deep(depth: int, act: Any, kernel_init: Any) -> Any:
    hidden = {f"hidden{i}": layers.dense(32, kernel_init) for i in range(depth)}
    each = [{name: layer, f"act_{name}": act} for name, layer in hidden.items()]
    blocks = {name: layer for block in each for name, layer in block.items()}
    return layers.serial(**blocks, out=layers.dense(10))


@given(arrays(TAME))
def test_statistics_are_those_of_the_reference(leaf: Any) -> None:
    got = statistics({"a": [leaf]})["a"][0]
    expected = jax.jit(reference.diagnostics.statistics)(leaf)
    size = np.max(np.abs(leaf))
    for field, value in got._asdict().items():
        np.testing.assert_allclose(value, expected[field], rtol=1e-12, atol=1e-15 * size)


@given(arrays(TAME), st.integers(-900, 900))
def test_statistics_scale_with_the_entries(leaf: Any, exponent: int) -> None:
    scale = 2.0**exponent
    got, one = statistics(leaf * scale), statistics(leaf)
    assert got[:6] == tuple(number * scale for number in one[:6])
    assert got[6:] == one[6:]


def test_statistics_at_the_ends_of_the_range() -> None:
    top = statistics(np.array([1.7e308, -1.7e308, 1.7e308, 1.7e308]))
    np.testing.assert_allclose(top[1:4], (1.7e308, 0.85e308, math.sqrt(3) * 0.85e308), rtol=1e-14)
    assert top.norm == math.inf
    assert statistics(np.full(4, 5e-324))[:4] == (1e-323, 5e-324, 5e-324, 0)


def test_statistics_of_a_few_numbers() -> None:
    got = statistics({"kernel": np.array([[3.0, 0.0], [-4.0, 0.0]], np.float32)})
    assert got == {"kernel": Statistics(5.0, 2.5, -0.25, math.sqrt(6.1875), -4.0, 3.0, 0.5, 0)}
    lost = statistics(np.array([np.nan, 1.0, np.inf, 0.0]))
    np.testing.assert_equal(tuple(lost), (*[math.nan] * 6, 0.25, 2))
    far = statistics(np.array([1.0, -np.inf]))
    np.testing.assert_equal(far[:6], (math.inf, math.inf, -math.inf, math.nan, -math.inf, 1.0))


def test_statistics_of_nothing_are_nan() -> None:
    np.testing.assert_equal(tuple(statistics(np.zeros((0, 3)))), (0, *[math.nan] * 6, 0))
    assert statistics({"a": None, "b": []}) == {"a": None, "b": []}


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_of_every_dtype_are_in_float64(dtype: Any) -> None:
    leaf = np.full(100_000, 0.1, dtype)
    each = float(leaf[0])
    got = statistics(leaf)
    np.testing.assert_allclose(got[:4], (each * math.sqrt(1e5), each, each, 0), 1e-12, 1e-12)
    assert all(type(number) is float for number in got[:-1])


@given(arrays(TAME, min_dims=2), st.data())
def test_update_ratios_are_those_of_the_reference(params: Any, data: Any) -> None:
    updates = data.draw(hnp.arrays(np.float64, params.shape, elements=TAME))
    params[0, 0] = 1
    pair = {"a": {"kernel": updates}}, {"a": {"kernel": params}}
    got = update_ratios(*pair)["a"]["kernel"]
    expected = jax.jit(reference.diagnostics.update_ratios)(*pair)["a"]["kernel"]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("update", "parameter", "ratio"),
    [
        (0.0, 0.0, 0.0),
        (1.0, 0.0, math.inf),
        (math.nan, 0.0, math.nan),
        (math.inf, 0.0, math.inf),
        (1e300, 2e300, 0.5),
        (1e300, 1e-300, math.inf),
        (1.0, math.inf, math.nan),
        (1.0, math.nan, math.nan),
    ],
)
def test_update_ratios_without_a_measure(update: float, parameter: float, ratio: float) -> None:
    np.testing.assert_equal(update_ratios(np.array([update]), np.array([parameter])), ratio)


@given(st.dictionaries(st.sampled_from("abc"), arrays(TAME), min_size=1), st.integers(-200, 200))
def test_flow_is_the_rms_of_each_layer_at_any_scale(weights: Any, exponent: int) -> None:
    grads = {name: {"kernel": w * 2.0**exponent, "bias": w[:1]} for name, w in weights.items()}
    flow = gradient_flow(grads)
    assert [*flow.rms] == [(name,) for name in weights]
    expected = reference.diagnostics.layer_rms(grads)
    for path, rms in flow.rms.items():
        np.testing.assert_allclose(rms, expected[path], rtol=1e-12)


@given(st.lists(st.sampled_from([0.0, 1e-6, 2e-3, 1.0, 400.0]), min_size=1))
def test_flow_flags_layers_by_their_ratio_to_the_last(sizes: Any) -> None:
    flow = gradient_flow([[np.full((2, 3), size)] for size in sizes], threshold=1e-3)
    last = sizes[-1]
    assert flow.vanishing == [(i,) for i, g in enumerate(sizes) if g < last / 1000 or g == 0]
    assert flow.exploding == [(i,) for i, g in enumerate(sizes) if g > last * 1000]


def test_flow_is_not_misled_by_what_is_not_finite() -> None:
    for bad in (np.nan, np.inf):
        flow = gradient_flow([[np.ones(2)], [np.array([bad, 1.0])]])
        assert flow[1:] == ([], [])
    assert gradient_flow([[np.array(np.inf)], [np.array(1.0)]])[1:] == ([], [(0,)])
    assert gradient_flow([[np.array(np.nan)], [np.array(1.0)]])[1:] == ([], [])
    assert gradient_flow({"a": {"bias": np.zeros(0)}}) == ({}, [], [])


@pytest.mark.parametrize("depth", [8, 20])
def test_gradients_vanish_in_deep_sigmoids_and_not_in_relus(depth: int) -> None:
    sigmoids = deep(depth, layers.sigmoid, initializers.glorot_uniform())
    flow = gradient_flow(gradients(sigmoids, (20,))[1])
    assert len(flow.rms) == depth + 1
    assert flow.vanishing == [(f"hidden{i}",) for i in range(depth - 4)]
    assert flow.exploding == []
    relus = deep(depth, layers.relu, initializers.he_normal())
    assert gradient_flow(gradients(relus, (20,))[1])[1:] == ([], [])


@pytest.mark.parametrize("scale", [1e-4, 1e-2])
def test_gradients_vanish_where_weights_are_too_small(scale: float) -> None:
    small = initializers.variance_scaling(scale, "fan_in", "normal")
    flow = gradient_flow(gradients(deep(10, layers.relu, small), (20,))[1])
    assert flow.vanishing[:7] == [(f"hidden{i}",) for i in range(7)]
    assert ("out",) not in flow.vanishing
    assert flow.exploding == []


def test_gradients_explode_where_weights_are_too_large() -> None:
    large = initializers.variance_scaling(50.0, "fan_in", "normal")
    flow = gradient_flow(gradients(deep(20, layers.tanh, large), (20,))[1])
    assert flow.vanishing == []
    assert flow.exploding[:5] == [(f"hidden{i}",) for i in range(5)]
    assert len(flow.exploding) < 15


@given(arrays(st.sampled_from([0.0, -0.0, 0.0, 1.0, math.nan]), min_side=0))
def test_dead_units_are_those_of_the_reference(leaf: Any) -> None:
    got = dead_units([leaf])[0]
    assert got.dtype == bool
    np.testing.assert_array_equal(got, reference.diagnostics.dead_units(leaf))


@given(arrays(TAME), st.floats(-50, 0, allow_subnormal=False), st.floats(0.01, 50))
def test_saturation_is_that_of_the_reference(y: Any, low: float, high: float) -> None:
    got = saturation(y, low=low, high=high)
    expected = reference.diagnostics.saturation(y, low, high)
    np.testing.assert_allclose(got, expected, rtol=1e-15)
    below, above = saturation(y, low=low), saturation(y, high=high)
    np.testing.assert_allclose(below + above, got, rtol=1e-15)
    np.testing.assert_array_equal(below == 1, dead_units(np.maximum(y - low, 0)))


def test_killed_units_are_found_where_they_were_killed() -> None:
    model = layers.serial(
        conv=layers.conv(6, (3, 3)),
        act=layers.relu,
        flat=layers.flatten,
        hidden=layers.dense(16),
        act2=layers.relu,
        out=layers.dense(3),
    )

    def kill(params: Any) -> Any:
        for name, units in (("conv", [1, 4]), ("hidden", [0, 7, 15])):
            params[name]["bias"][units] = -100
        return params

    params, grads = gradients(model, (5, 5, 2), 3, kill)
    dead = dead_units(grads)
    for name, units in (("conv", [1, 4]), ("hidden", [0, 7, 15]), ("out", [])):
        for leaf in ("kernel", "bias"):
            assert np.flatnonzero(dead[name][leaf]).tolist() == units
    # What the dead filters would have told the layer behind them, its weights do not learn.
    into = {"kernel": grads["hidden"]["kernel"].reshape(25, 6, 16).swapaxes(1, 2)}
    assert np.flatnonzero(dead_units(into)["kernel"]).tolist() == [1, 4]
    assert not any(leaf.any() for leaf in tree.leaves(dead_units({"out": params["out"]["kernel"]})))


def test_dead_in_each_batch_is_their_conjunction() -> None:
    batches = [{"bias": np.array(grads)} for grads in ([0.0, 1, 0], [0.0, 0, 1])]
    both = tree.map(np.logical_and, *map(dead_units, batches))
    assert both["bias"].tolist() == [True, False, False]


def test_the_units_of_an_embedding_are_its_rows() -> None:
    model = layers.serial(words=layers.embedding(6, 3), out=layers.dense(2))
    params, state, _ = model.init(random.key(0), (4,))
    batch = np.array([[0, 2, 2, 5]]), np.array([[0, 1, 1, 0]])
    loss = losses.softmax_cross_entropy_with_integer_labels
    dead = dead_units(objective(model, loss).grad(params, state, batch))
    assert dead["words"]["embedding"].tolist() == [False, True, False, True, True, False]
    low = saturation({"embedding": np.array([[0.0, 1.0], [0.0, 0.0]])}, low=0)
    assert low["embedding"].tolist() == [0.5, 1.0]


def test_units_of_leaves_without_axes_or_entries() -> None:
    for leaf, dead in ((0.0, True), (0.5, False)):
        got = dead_units(np.array(leaf))
        assert isinstance(got, np.ndarray)
        assert got.shape == ()
        assert got == dead
    assert dead_units(np.zeros((0, 2))).tolist() == [True, True]
    assert dead_units(np.zeros((2, 0))).shape == (0,)
    np.testing.assert_array_equal(saturation(np.zeros((0, 2)), low=0), [np.nan, np.nan])
    assert saturation(np.array(-1.0), low=0) == 1


@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_ends_are_not_rounded_to_the_dtype(dtype: Any) -> None:
    beyond = 0.75 * (1 + float(ml_dtypes.finfo(dtype).eps) / 8)  # type: ignore[no-untyped-call]
    y = np.array([0.75, -0.75, np.nan, -np.inf]).astype(dtype)[:, None]
    assert saturation(y, low=-beyond, high=beyond).tolist() == [0.25]
    assert saturation(y, low=-0.75, high=0.75).tolist() == [0.75]
    assert saturation(y, low=-1e6, high=1e6).tolist() == [0.25]


@given(TREES)
def test_what_is_not_finite_is_listed(values: Any) -> None:
    found = {bad.path: bad for bad in nonfinite(values)}
    for path, leaf in tree.leaves_with_paths(values):
        wrong = [where for where in np.ndindex(leaf.shape) if not math.isfinite(leaf[where])]
        assert (path in found) == bool(wrong)
        if wrong:
            bad = found[path]
            assert (bad.first, bad.total) == (wrong[0], len(wrong))
            np.testing.assert_equal(bad.value, leaf[wrong[0]])
            assert statistics(leaf).nonfinite == bad.total


def test_the_first_of_several_that_are_not_finite() -> None:
    leaf = np.array([[1.0, -np.inf], [np.nan, np.nan]], np.float32)
    assert nonfinite({"a": [np.ones(1), leaf]}) == [(("a", 1), (0, 1), -math.inf, 3)]
    assert nonfinite([np.ones(1)]) == []


@settings(max_examples=30)
@given(TREES)
@np.errstate(all="raise")
def test_nothing_warns_writes_or_changes_the_structure(values: Any) -> None:
    for leaf in tree.leaves(values):
        leaf.setflags(write=False)
    paths = [path for path, _ in tree.leaves_with_paths(values)]
    for found in (dead_units(values), saturation(values, 0, 1), update_ratios(values, values)):
        assert [path for path, _ in tree.leaves_with_paths(found)] == paths
    described = tree.leaves_with_paths(statistics(values))
    assert [path for path, _ in described] == [
        (*p, field) for p in paths for field in Statistics._fields
    ]
    assert {*gradient_flow(values).rms} <= {path[:-1] for path in paths}
    assert len(table(statistics(values)).splitlines()) == len(paths) + bool(paths)


def test_the_table_has_a_row_per_leaf_or_layer() -> None:
    grads = {"out": {"kernel": np.ones((2, 2)), "bias": np.full(4, -1e-9)}, "a": [np.ones(1)]}
    assert table(statistics(grads)).splitlines() == [
        "                    norm    rms    mean  std     min     max  zeros  nonfinite",
        '["out"]["kernel"]      2      1       1    0       1       1      0          0',
        '["out"]["bias"]    2e-09  1e-09  -1e-09    0  -1e-09  -1e-09      0          0',
        '["a"][0]               1      1       1    0       1       1      0          0',
    ]
    assert table(
        {"out": {"kernel": 0.001234, "bias": 12345}, "a": {"bias": math.nan}}
    ).splitlines() == [
        "          kernel   bias",
        '["out"]  0.00123  12345',
        '["a"]               nan',
    ]
    assert table(2.5).split() == ["2.5"]
    assert table({}) == ""


@pytest.mark.parametrize(
    ("leaf", "got"),
    [
        (np.array([1, 2]), "has dtype int64"),
        (np.array([1j]), "has dtype complex128"),
        (np.array([True]), "has dtype bool"),
        (0.5, "is a float"),
    ],
)
def test_leaves_that_are_no_floats_are_refused_by_path(leaf: Any, got: str) -> None:
    for name, argument in UNARY.items():
        message = rf'{name}: {argument}\["hidden"\]\[0\] {got}, expected'
        with pytest.raises(DtypeError, match=message):
            getattr(diagnostics, name)({"hidden": [leaf]})
    with pytest.raises(DtypeError, match=rf"saturation: activations\[0\] {got}, expected"):
        saturation([leaf], low=0)
    with pytest.raises(DtypeError, match=rf"update_ratios: params\[0\] {got}, expected"):
        update_ratios([leaf], [leaf])


@pytest.mark.parametrize(
    ("updates", "error", "message"),
    [
        ({"b": np.ones(2)}, TreeError, ": trees differ at the root: got keys ['b'], expected"),
        ({"a": np.ones(3)}, ShapeError, '["a"] has shape (3,), expected (2,)'),
        ({"a": np.ones(2, "f")}, DtypeError, '["a"] has dtype float32, expected float64'),
        ({"a": 1.0}, DtypeError, '["a"] is a float, expected an array'),
    ],
)
def test_updates_that_do_not_fit_are_refused(updates: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=re.escape(f"update_ratios: updates{message}")):
        update_ratios(updates, {"a": np.ones(2)})


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, math.nan])
def test_a_threshold_out_of_its_domain_is_refused(wrong: float) -> None:
    with pytest.raises(DomainError, match=f"gradient_flow: threshold is {wrong}, expected"):
        gradient_flow([np.ones(1)], threshold=wrong)


def test_ends_that_are_none_are_refused(unannotated: None) -> None:
    y = np.ones((2, 2))
    with pytest.raises(DomainError, match="saturation: low and high are None, expected"):
        saturation(y)
    with pytest.raises(DomainError, match=r"saturation: high is 0, expected .* > 1"):
        saturation(y, low=1, high=0)
    with pytest.raises(DomainError, match="saturation: low is -inf, expected a finite"):
        saturation(y, low=-math.inf)
    with pytest.raises(DtypeError, match="saturation: low is '0', expected a number"):
        inspect.unwrap(saturation)(y, low="0")
    with pytest.raises(DtypeError, match="gradient_flow: threshold is True, expected a number"):
        gradient_flow(y, threshold=True)


def test_a_table_of_what_is_no_number_is_refused() -> None:
    with pytest.raises(DtypeError, match=r'table: numbers\["a"\]\[0\] is a ndarray, expected a n'):
        table({"a": [np.ones(2)]})


def test_numbers_of_half_precision_are_shown() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        values = {"a": {"kernel": np.full(3, 0.25, dtype)}}
        assert table(tree.map(np.mean, values)).split() == ["kernel", '["a"]', "0.25"]
