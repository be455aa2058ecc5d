from typing import Any

import flax.linen as nn
import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purenn import tree
from purenn.errors import DtypeError, ShapeError, TreeError
from purenn.ops import recurrence
from purenn.typing import Array

CELLS = {"rnn": nn.SimpleCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
NAMES = sorted(CELLS)
IN, FEATURES = 2, 3


def draw(like: Any, seed: int = 0, scale: float = 1.0) -> Any:
    rng = np.random.default_rng(seed)
    return tree.map(lambda x: rng.normal(size=x.shape) * scale, like)


def parameters(name: str, seed: int = 0) -> Any:
    """Numbers in the tree that Flax makes."""
    cell: Any = CELLS[name](FEATURES)
    like = jax.eval_shape(cell.init, jax.random.key(0), carry(name), np.ones(IN))
    return draw(jax.tree.map(lambda x: np.empty(x.shape), like["params"]), seed)


def carry(name: str, *batch: int, seed: int = 0) -> Any:
    h = np.empty((*batch, FEATURES))
    return draw((h, h) if name == "lstm" else h, seed)


def rule(name: str) -> Any:
    return getattr(recurrence, name)


def close(ours: Any, theirs: Any) -> None:
    theirs = jax.tree.map(np.asarray, theirs)
    tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), ours, theirs)


@pytest.mark.parametrize(
    ("name", "reverse", "keep_order"),
    [("rnn", True, True), ("lstm", False, False), ("gru", True, False)],
)
def test_sequences_are_those_of_flax(name: str, reverse: bool, keep_order: bool) -> None:
    params, first, xs = parameters(name), carry(name, 2), draw(np.empty((2, 4, IN)), 1)
    static: Any = {"reverse": reverse, "keep_order": keep_order}
    layer = nn.RNN(CELLS[name](FEATURES), return_carry=True, unroll=4, **static)

    @jax.jit
    def theirs(params: Any, carry: Any, xs: Any, dy: Any) -> Any:
        def apply(params: Any, carry: Any, xs: Any) -> Any:
            return layer.apply({"params": {"cell": params}}, xs, initial_carry=carry)

        y, pullback = jax.vjp(apply, params, carry, xs)
        return y, pullback(dy)

    y, pullback = rule(f"{name}_vjp")(params, first, xs, **static)
    dy = draw(y, 2)
    close((y, pullback(dy)), theirs(params, first, xs, dy))
    tree.map(np.testing.assert_array_equal, rule(name)(params, first, xs, **static), y)


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_is_its_cell_step_by_step(name: str) -> None:
    params, state, xs = parameters(name), carry(name, 2), draw(np.empty((2, 3, IN)), 1)
    y, pullback = rule(f"{name}_vjp")(params, state, xs)
    dstate, dys = draw(y, 2)
    pullbacks = []
    for t in range(3):
        state, step_pullback = rule(f"{name}_cell_vjp")(params, state, xs[:, t])
        pullbacks.append(step_pullback)
        np.testing.assert_allclose(y[1][:, t], hidden(state), rtol=1e-12)
    dparams, dfirst, dxs = pullback((dstate, dys))
    total = tree.zeros_like(params)
    for t in (2, 1, 0):
        dstate = plus(dstate, dys[:, t])
        its, dstate, dx = pullbacks[t](dstate)
        total = tree.map(np.add, total, its)
        np.testing.assert_allclose(dxs[:, t], dx, rtol=1e-11, atol=1e-14)
    close((dparams, dfirst), (total, dstate))


def hidden(state: Any) -> Any:
    return state[1] if isinstance(state, tuple) else state


def plus(dstate: Any, dy: Array) -> Any:
    return (dstate[0], dstate[1] + dy) if isinstance(dstate, tuple) else dstate + dy


@pytest.mark.parametrize("name", NAMES)
def test_without_steps_the_carry_passes_through(name: str) -> None:
    params, first = parameters(name), carry(name, 2)
    y, pullback = rule(f"{name}_vjp")(params, first, np.empty((2, 0, IN)))
    tree.map(np.testing.assert_array_equal, y[0], first)
    assert y[1].shape == (2, 0, FEATURES)
    dparams, dfirst, dxs = pullback(y)
    assert not any(leaf.any() for leaf in tree.leaves(dparams))
    tree.map(np.testing.assert_array_equal, dfirst, first)
    assert dxs.shape == (2, 0, IN)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [(0,), (), (2, 1)])
def test_any_batch(name: str, batch: tuple[int, ...]) -> None:
    params, first, xs = parameters(name), carry(name, *batch), np.ones((*batch, 2, IN))
    y, pullback = rule(f"{name}_vjp")(params, first, xs)
    tree.check_like("cotangents", pullback(y), (params, first, xs))
    step, pullback = rule(f"{name}_cell_vjp")(params, first, xs[..., 0, :])
    tree.check_like("cotangents", pullback(step), (params, first, xs[..., 0, :]))


@pytest.mark.parametrize("name", NAMES)
@given(time=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_what_comes_later_is_not_seen(name: str, time: int, seed: int) -> None:
    params, first, xs = parameters(name), carry(name, 2), draw(np.empty((2, 4, IN)), seed)
    y, pullback = rule(f"{name}_vjp")(params, first, xs)
    later = np.arange(4)[:, np.newaxis] > time
    _, changed = rule(name)(params, first, xs + later)
    np.testing.assert_array_equal(changed[:, : time + 1], y[1][:, : time + 1])
    dy = (tree.zeros_like(y[0]), np.where(later, 0, y[1]))
    assert not pullback(dy)[2][:, time + 1 :].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_computes_in_float32(name: str, dtype: Any) -> None:
    def to(dtype: Any, x: Any) -> Any:
        return tree.map(lambda leaf: leaf.astype(dtype), x)

    half = to(dtype, (parameters(name), carry(name, 2), draw(np.empty((2, 3, IN)), 1)))
    y, pullback = rule(f"{name}_vjp")(*half)
    y32, pullback32 = rule(f"{name}_vjp")(*to(np.float32, half))
    expected = to(dtype, (y32, pullback32(to(np.float32, y))))
    rtol = 2.0**-10 if dtype is np.float16 else 2.0**-7
    tree.map(
        lambda a, b: np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=rtol),
        (y, pullback(y)),
        expected,
    )
    assert {leaf.dtype for leaf in tree.leaves((y, pullback(y)))} == {np.dtype(dtype)}


def test_many_steps_in_float32_are_as_near_as_one() -> None:
    params, first, xs = tree.map(
        lambda x: x.astype(np.float32),
        (draw(parameters("lstm"), scale=0.5), carry("lstm", 2), draw(np.empty((2, 60, IN)), 1)),
    )
    y, pullback = recurrence.lstm_vjp(params, first, xs)
    wide = tree.map(lambda x: x.astype(np.float64), (params, first, xs))
    y64, pullback64 = recurrence.lstm_vjp(*wide)
    exact = (y64, pullback64(tree.map(lambda x: x.astype(np.float64), y)))
    tree.map(
        lambda a, b: np.testing.assert_array_max_ulp(a, b.astype(np.float32), 0),
        (y, pullback(y)),
        exact,
    )


def filled(name: str, value: float, **leaves: Array) -> Any:
    """Parameters that are all 0, but for the biases that are given by the name of their gate."""
    params = tree.map(lambda x: np.full(x.shape, value), parameters(name))
    for gate, bias in leaves.items():
        params[gate] = params[gate] | {"bias": bias}
    return params


def test_a_wide_open_gate_can_still_be_closed() -> None:
    open_wide = np.full(FEATURES, 50.0)
    params = filled("lstm", 0.0, hf=open_wide)
    c, h, x = np.full(FEATURES, 2.0), np.zeros(FEATURES), np.zeros(IN)
    _, pullback = recurrence.lstm_cell_vjp(params, (c, h), x)
    dparams, _, _ = pullback((np.ones(FEATURES), np.zeros(FEATURES)))
    np.testing.assert_allclose(dparams["hf"]["bias"], 2 * np.exp(-50.0), rtol=1e-15)


def test_a_gru_that_keeps_its_state_still_learns_another() -> None:
    keep = np.full(FEATURES, 50.0)
    params = filled("gru", 0.0, iz=keep, **{"in": np.full(FEATURES, 0.5)})
    h = np.zeros(FEATURES)
    y, pullback = recurrence.gru_cell_vjp(params, h, np.zeros(IN))
    np.testing.assert_allclose(y, np.exp(-50.0) * np.tanh(0.5), rtol=1e-14)
    dparams, dh, _ = pullback(np.ones(FEATURES))
    np.testing.assert_allclose(dh, 1, rtol=1e-15)
    np.testing.assert_allclose(dparams["iz"]["bias"], -np.tanh(0.5) * np.exp(-50.0), rtol=1e-14)
    np.testing.assert_allclose(dparams["in"]["bias"], np.exp(-50.0) / np.cosh(0.5) ** 2, rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_are_huge_saturate_without_a_warning(name: str) -> None:
    params, first, xs = tree.map(
        lambda x: np.float32(1e30) * np.sign(x).astype(np.float32),
        (parameters(name), carry(name, 2), draw(np.empty((2, 3, IN)), 1)),
    )
    y, pullback = rule(f"{name}_vjp")(params, first, xs)
    assert all(np.isfinite(leaf).all() for leaf in tree.leaves((y, pullback(y))))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_returned_is_not_what_the_pullback_keeps(name: str) -> None:
    primals = parameters(name), carry(name, 2), np.ones((2, 3, IN))
    y, pullback = rule(f"{name}_vjp")(*primals)
    dy = draw(y, 2)
    before = pullback(dy)
    for leaf in tree.leaves(y):
        leaf[...] = np.nan
    tree.map(np.testing.assert_array_equal, pullback(dy), before)
    step, pullback = rule(f"{name}_cell_vjp")(*primals[:2], np.ones((2, IN)))
    before = pullback(dy[0])
    for leaf in tree.leaves(step):
        leaf[...] = np.nan
    tree.map(np.testing.assert_array_equal, pullback(dy[0]), before)


def test_what_does_not_fit_is_refused_by_name() -> None:
    params, first, xs = parameters("lstm"), carry("lstm", 2), np.ones((2, 3, IN))
    with pytest.raises(TreeError, match="lstm: carry is a ndarray, expected a tuple of 2"):
        recurrence.lstm(params, first[0], xs)
    with pytest.raises(ShapeError, match=r"lstm: carry\[1\] has shape \(1, 3\).* batch = \(2,\)"):
        recurrence.lstm(params, (first[0], first[1][:1]), xs)
    with pytest.raises(ShapeError, match=r"lstm: inputs has shape \(2, 3, 1\).* with in = 2"):
        recurrence.lstm(params, first, xs[..., :1])
    with pytest.raises(TreeError, match=r"rnn_cell: params has keys .*, expected .*\'i\', \'h\'"):
        recurrence.rnn_cell(params, first[0], xs[:, 0])
    wrong = params | {"if": {"kernel": np.ones((IN, 4))}}
    with pytest.raises(ShapeError, match=r'params\["if"\]\["kernel"\] .* with features = 3'):
        recurrence.lstm_cell(wrong, first, xs[:, 0])
    y, pullback = recurrence.lstm_vjp(params, first, xs)
    with pytest.raises(TreeError, match=r"lstm_vjp: dy is a ndarray, expected a tuple of 2"):
        pullback(y[1])
    with pytest.raises(ShapeError, match=r"dy\[1\] has shape \(2, 3\), expected that of y\[1\]"):
        pullback((first, first[0]))
    with pytest.raises(DtypeError, match=r"dy\[0\]\[0\] has dtype float32, expected that of y"):
        pullback(tree.map(lambda x: x.astype(np.float32), y))
