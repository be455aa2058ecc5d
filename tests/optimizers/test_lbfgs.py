"""The steps beside the Wolfe conditions, the minima beside SciPy's."""

import functools
import re
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings

from purenn import layers, random, regularizers, training, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import losses
from purenn.optimizers import apply_updates
from purenn.optimizers.lbfgs import (
    LBFGSState,
    lbfgs,
    scale_by_lbfgs,
    value_and_grad_from_state,
)
from purenn.optimizers.line_search import wolfe_line_search
from tests.optimizers.problems import (
    SEEDS,
    ValueAndGrad,
    assert_close,
    classifier,
    convex,
    draw_tree,
    frozen,
    quadratic,
    rosenbrock,
)


def run(
    value_and_grad: ValueAndGrad, params: Any, steps: int, is_checked: bool = True, **options: Any
) -> Any:
    """Minimize; a step is pure, ends where it says, and satisfies what it should."""
    optimizer = lbfgs(**options)
    state = optimizer.init(params)
    evaluations = 0

    def counted(params: Any) -> tuple[Any, Any]:
        nonlocal evaluations
        evaluations += 1
        value, grads = value_and_grad(frozen(params))
        return value, frozen(grads)

    evaluate = value_and_grad_from_state(counted)
    for _ in range(steps):
        value, grads = evaluate(params, state=state)
        if max(np.abs(g).max(initial=0) for g in tree.leaves(grads)) <= 1e-8:
            break
        before = params
        updates, state = optimizer.update(
            grads, frozen(state), params, value=value, value_and_grad_fn=counted
        )
        params = apply_updates(params, updates)
        tree.map(np.testing.assert_array_equal, params, state.memory.params)
        if not state.learning_rate:
            break
        if is_checked:
            assert_step(value_and_grad, before, params)
    return value_and_grad(params)[0], evaluations, params


def assert_step(value_and_grad: ValueAndGrad, before: Any, after: Any) -> None:
    """The strong Wolfe conditions, or where values are lost in rounding the approximate ones."""
    (value, grads), (new, its_grads) = value_and_grad(before), value_and_grad(after)
    wide = functools.partial(tree.map, lambda x: x.astype(np.float64))
    direction = tree.map(np.subtract, wide(after), wide(before))
    slope, its_slope = [
        sum(
            np.vdot(g, d)
            for g, d in zip(tree.leaves(wide(gs)), tree.leaves(direction), strict=True)
        )
        for gs in (grads, its_grads)
    ]
    eps = max(float(np.finfo(leaf.dtype).eps) for leaf in tree.leaves(before))
    blur = 10 * eps * abs(value)
    rounding = 1e4 * eps * max(abs(slope), abs(its_slope))  # of the sum p + u, in the direction
    assert new <= value + max(1e-4 * slope, blur)
    assert abs(its_slope) <= 0.9 * abs(slope) + rounding


def scipy_run(value_and_grad: ValueAndGrad, params: Any) -> Any:
    x0, unravel = tree.ravel(params)

    def flat(x: Any) -> Any:
        value, grads = value_and_grad(unravel(x))
        return value, tree.ravel(grads)[0]

    options = {"maxcor": 10, "ftol": 0, "gtol": 1e-8, "maxiter": 10_000, "maxfun": 10_000}
    return scipy.optimize.minimize(flat, x0, jac=True, method="L-BFGS-B", options=options)


@pytest.mark.parametrize(
    ("make", "sizes"), [(rosenbrock, (2, 20)), (quadratic, (2, 8)), (classifier, (0, 0))]
)
@settings(max_examples=2)
@given(data=st.data(), seed=SEEDS)
def test_it_finds_the_minimum_that_scipy_finds_in_as_many_evaluations(
    make: Any, sizes: Any, data: st.DataObject, seed: int
) -> None:
    size = data.draw(st.integers(*sizes))
    value_and_grad, params = make(size, seed)
    theirs = scipy_run(value_and_grad, params)
    value, evaluations, _ = run(value_and_grad, params, 2000, is_checked=False)
    print(f"{make.__name__}({size}): {evaluations} evaluations, SciPy {theirs.nfev}")
    np.testing.assert_allclose(value, theirs.fun, rtol=1e-8, atol=1e-12)
    assert evaluations <= 2 * theirs.nfev


@settings(max_examples=4)
@given(SEEDS, st.sampled_from([np.float32, np.float64]), st.sampled_from([1e-3, 1.0, 1e3]))
def test_every_step_of_a_network_satisfies_the_wolfe_conditions(
    seed: int, dtype: Any, learning_rate: float
) -> None:
    """A loss that is not convex; the steps end where they say, bit for bit, and never climb."""
    value_and_grad, params = classifier(3, seed, dtype)
    first = float(value_and_grad(params)[0])
    value, _, params = run(value_and_grad, params, 6, learning_rate=learning_rate)
    assert value < 0.9 * first
    assert {leaf.dtype for leaf in tree.leaves(params)} == {np.dtype(dtype)}


def step_of(
    value_and_grad: ValueAndGrad, params: Any, state: Any = None, **options: Any
) -> tuple[Any, LBFGSState]:
    optimizer = lbfgs(**options)
    value, grads = value_and_grad(params)
    state = state or optimizer.init(params)
    return optimizer.update(grads, state, params, value=value, value_and_grad_fn=value_and_grad)


def test_a_barrier_is_kept_away_from() -> None:
    """x − log(1 − ‖x‖²), which is NaN outside of the ball."""

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        x = params["x"]
        inside = 1 - x @ x
        return x.sum() - np.log(inside), {"x": 1 + 2 * x / inside}

    for rate in (1.0, 1e3):
        value, _, params = run(value_and_grad, {"x": np.full(3, 0.57)}, 50, learning_rate=rate)
        grads = value_and_grad(params)[1]
        assert np.abs(grads["x"]).max() < 1e-7
        assert np.isfinite(value)


def test_at_the_minimum_nothing_is_evaluated_and_nothing_moves() -> None:
    updates, state = step_of(lambda p: (0.5 * p["x"] @ p["x"], {"x": p["x"]}), {"x": np.zeros(3)})
    assert not updates["x"].any()
    assert not state.learning_rate
    assert not state.evaluations
    assert state.memory.count == 1


def test_a_step_that_finds_nothing_better_is_0_and_forgets() -> None:
    value_and_grad, params = rosenbrock(4, 0)
    _, state = step_of(value_and_grad, params)
    assert state.memory.weights_memory.any()

    def lying(params: Any) -> tuple[Any, Any]:
        return 1.0 + np.abs(params["x"]).sum(), {"x": -np.ones(4)}

    updates, state = step_of(lying, {"x": np.zeros(4)}, state)
    assert not updates["x"].any()
    assert state.value == 1
    assert state.evaluations > 0 == state.learning_rate
    assert not state.memory.weights_memory.any()


def test_a_direction_that_does_not_descend_gives_way_to_the_gradient() -> None:
    value_and_grad, params = quadratic(4, 0)
    _, state = step_of(value_and_grad, params)
    climbing = state.memory._replace(weights_memory=np.full(10, -1e3))
    updates, after = step_of(value_and_grad, params, state._replace(memory=climbing))
    grads = value_and_grad(params)[1]["x"]
    cosine = -updates["x"] @ grads / np.linalg.norm(updates["x"]) / np.linalg.norm(grads)
    np.testing.assert_allclose(cosine, 1, rtol=1e-12)
    assert after.learning_rate > 0


@settings(max_examples=4)
@given(SEEDS)
def test_pairs_are_of_one_batch_and_rows_turn_round(seed: int) -> None:
    rng = np.random.default_rng(seed)
    optimizer = lbfgs(memory_size=2)
    params = draw_tree(rng, {"a": {"kernel": (2, 2), "bias": ()}, "b": {"bias": (3,)}})
    state = optimizer.init(params)
    for count in range(5):
        batch = convex(rng, params)
        value, grads = batch(params)
        updates, state = optimizer.update(
            grads, frozen(state), params, value=value, value_and_grad_fn=batch
        )
        params = apply_updates(params, updates)
        after, there = batch(params)
        assert (state.value, state.memory.count) == (after, count + 1)
        for memory, new, old in (
            (state.memory.diff_updates_memory, there, grads),
            (state.memory.diff_params_memory, params, tree.map(np.subtract, params, updates)),
        ):
            row = tree.map(lambda leaf, row=count % 2: np.asarray(leaf[row]), memory)
            assert_close(row, tree.map(lambda x, y: np.asarray(x - y), new, old), 1e-12)


def test_a_donated_memory_is_written_to_and_the_numbers_are_the_same() -> None:
    value_and_grad, params = rosenbrock(3, 0)
    optimizer = lbfgs()
    kept, given_up = optimizer.init(params), optimizer.init(params)
    for _ in range(4):
        value, grads = value_and_grad(params)
        call = functools.partial(
            optimizer.update, grads, params=params, value=value, value_and_grad_fn=value_and_grad
        )
        updates, kept = call(frozen(kept))
        memory = given_up.memory.diff_params_memory["x"]
        _, given_up = call(given_up, donate=True)
        assert given_up.memory.diff_params_memory["x"] is memory
        tree.map(np.testing.assert_array_equal, kept, given_up)
        params = apply_updates(params, updates)


def test_what_the_state_knows_is_not_computed_again() -> None:
    value_and_grad, params = rosenbrock(3, 0)
    optimizer, calls = lbfgs(), 0

    def counted(params: Any) -> tuple[Any, Any]:
        nonlocal calls
        calls += 1
        return value_and_grad(params)

    evaluate = value_and_grad_from_state(counted)
    state = optimizer.init({"x": np.zeros(3)})
    evaluate({"x": np.zeros(3)}, state=state)
    assert calls == 1
    updates, state = step_of(value_and_grad, params)
    assert calls == 1
    for point, more in ((apply_updates(params, updates), 0), (params, 1)):
        before = calls
        value, grads = evaluate(point, state=state)
        assert calls == before + more
        expected, their = value_and_grad(point)
        assert value == expected
        np.testing.assert_array_equal(grads["x"], their["x"])


def test_the_first_step_that_is_tried_is_the_rate_in_directions() -> None:
    points: list[Any] = []

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        points.append(params["x"])
        return 0.5 * params["x"] @ params["x"], {"x": params["x"]}

    x = np.array([3.0, 4.0])
    for rate, size in ((None, 1.0), (0.5, 0.5), (lambda count: 0.25 + count, 0.25)):
        points.clear()
        step_of(value_and_grad, {"x": x}, learning_rate=rate)
        np.testing.assert_allclose(points[1], x - size * x / 5, rtol=1e-15)
    search = functools.partial(wolfe_line_search, max_steps=1, c1=1e-10, c2=1e-9)
    _, state = step_of(value_and_grad, {"x": x}, linesearch=search)
    assert state.evaluations == 1


@pytest.mark.parametrize(
    ("dtypes", "eps"),
    [
        (("f8", "f8"), 2**-52),
        (("f4", "f4"), 2**-23),
        (("f8", "f4"), 2**-23),
        (("f8", "f2"), 2**-10),
    ],
)
def test_the_search_is_told_of_the_least_precise_parameter(dtypes: Any, eps: float) -> None:
    told: dict[str, Any] = {}

    def spy(*args: Any, **options: Any) -> Any:
        told.update(options)
        return wolfe_line_search(*args, **options)

    params = {f"{i}": np.ones(2, dtype) for i, dtype in enumerate(dtypes)}
    step_of(lambda p: (1.0, p), params, linesearch=spy)
    assert told == {"init_step": 1.0, "eps": eps}


def test_it_trains_a_model_on_whole_batches() -> None:
    inputs = np.random.default_rng(0).normal(size=(40, 3))
    batch = inputs, inputs.argmax(1)
    model = layers.serial(hidden=layers.dense(5), act=layers.tanh, out=layers.dense(3))
    objective = training.objective(
        model, losses.softmax_cross_entropy_with_integer_labels, regularizers.l2(1e-3)
    )
    optimizer = lbfgs()
    first = training.init_state(model, optimizer, random.key(0), (3,), np.float64)
    step, seen = training.train_step(objective, optimizer), []
    for state, metrics in training.fit(step, first, [batch] * 10):
        seen.append(metrics["loss"])
        tree.map(np.testing.assert_array_equal, state.params, state.opt_state.memory.params)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 0.3 * seen[0]
    assert seen[-1] > state.opt_state.value


@pytest.mark.parametrize("scaled", [False, True])
def test_the_extremes_of_float64_do_no_harm(scaled: bool) -> None:
    """Where squares underflow or overflow it still descends, or stands still."""
    for scale in (1e-300, 1e-160, 1e150, 1e200, 1e300):

        def value_and_grad(params: Any, scale: float = scale) -> tuple[Any, Any]:
            x = params["x"]
            return 0.5 * scale * (x @ x), {"x": scale * x}

        params: Any = {"x": np.array([3.0, -4.0])}
        state: Any = None
        for _ in range(5):
            before = value_and_grad(params)[0]
            updates, state = step_of(value_and_grad, params, state, scale_init_precond=scaled)
            params = apply_updates(params, updates)
            assert value_and_grad(params)[0] <= before
            assert all(np.isfinite(leaf).all() for leaf in tree.leaves(state))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_by_path(bad: float) -> None:
    params = {"a": {"kernel": np.ones(2), "bias": np.ones(1)}}
    spoilt = {"a": {"kernel": np.array([1.0, bad]), "bias": np.ones(1)}}
    message = r'lbfgs: grads\["a"\]\["kernel"\] is not finite'
    with pytest.raises(DomainError, match=message):
        step_of(lambda p: (1.0, spoilt), params)
    with pytest.raises(DomainError, match=f"lbfgs: value is {bad}, expected a finite number"):
        step_of(lambda p: (bad, params), params)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grads": {"w": np.ones(3)}}, ShapeError, 'grads["w"] has shape (3,), expected (2,)'),
        ({"grads": {"w": np.ones(2, np.float32)}}, DtypeError, 'grads["w"] has dtype float32'),
        ({"grads": {"v": np.ones(2)}}, TreeError, "grads: trees differ at the root"),
        ({"params": {"v": np.ones(2)}}, TreeError, "params: trees differ at the root"),
        ({"params": None}, TreeError, "params: trees differ at the root"),
        ({"value": "1"}, DtypeError, "lbfgs: value is a str, expected a number"),
        ({"value": True}, DtypeError, "lbfgs: value is a bool, expected a number"),
        ({"value": np.array(1)}, DtypeError, "lbfgs: value has dtype int64"),
        ({"value": np.ones(1)}, ShapeError, "lbfgs: value has shape (1,), expected ()"),
        ({"value_and_grad_fn": 3}, DtypeError, "value_and_grad_fn is 3, expected a function"),
        (
            {"value_and_grad_fn": lambda p: ((1.0, {}), p)},
            DtypeError,
            "lbfgs: value of value_and_grad_fn is a tuple, expected a number",
        ),
        (
            {"value_and_grad_fn": lambda p: (1.0, {"w": np.ones(3)})},
            ShapeError,
            'grads of value_and_grad_fn["w"] has shape (3,), expected (2,)',
        ),
        (
            {"state": scale_by_lbfgs().init({"w": np.ones(2)})},
            TreeError,
            "lbfgs: opt_state is a ScaleByLBFGSState, expected LBFGSState",
        ),
    ],
)
def test_an_update_that_does_not_fit_is_refused(
    change: Any, error: type[Exception], message: str
) -> None:
    ones = {"w": np.ones(2)}
    optimizer = lbfgs()
    call: Any = {"grads": ones, "state": optimizer.init(ones), "params": ones, "value": 1.0}
    call |= {"value_and_grad_fn": lambda p: (1.0, ones)} | change
    with pytest.raises(error, match=re.escape(message)):
        optimizer.update(**call)
    if change.keys() & {"grads", "params"}:
        product = scale_by_lbfgs()
        with pytest.raises(error, match=re.escape(message)):
            product.update(call["grads"], product.init(ones), call["params"])


@given(st.integers(-1000, 1000))
def test_a_value_may_be_any_number(value: int) -> None:
    params = {"w": np.ones(2)}
    expected = step_of(lambda p: (float(value), params), params)
    for same in (value, np.int64(value), np.float32(value), np.array(float(value))):
        got = step_of(functools.partial(lambda same, p: (same, params), same), params)
        tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("make", [scale_by_lbfgs, lbfgs])
def test_options_outside_their_domain_are_refused(make: Any) -> None:
    name = make.__name__
    with pytest.raises(DomainError, match=f"{name}: memory_size is 0, expected at least 1"):
        make(memory_size=0)
    with pytest.raises(DtypeError, match=rf"{name}: memory_size is 2\.0, expected an int"):
        make(memory_size=2.0)
    with pytest.raises(DtypeError, match=f"{name}: scale_init_precond is 1, expected a bool"):
        make(scale_init_precond=1)
    with pytest.raises(DtypeError, match=rf'{name}: params\["w"\] has dtype int64'):
        make().init({"w": np.ones(2, np.int64)})


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("wrong", [0.0, -1.0, np.inf, np.nan])
def test_rates_outside_their_domain_are_refused(wrong: float) -> None:
    bad: Any = None
    with pytest.raises(DomainError, match=f"lbfgs: learning_rate is {wrong}, expected a finite"):
        lbfgs(wrong)
    with pytest.raises(DomainError, match=rf"lbfgs: learning_rate\(0\) is {wrong}, expected a fin"):
        step_of(lambda p: (1.0, p), {"w": np.ones(2)}, learning_rate=lambda count: wrong)
    with pytest.raises(DtypeError, match="lbfgs: linesearch is None, expected a function"):
        lbfgs(linesearch=bad)
