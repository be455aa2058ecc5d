"""The product beside optax, the search beside its conditions, the minima beside SciPy's."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
import scipy.optimize
from hypothesis import given, settings

from purenn import layers, random, regularizers, training, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import losses
from purenn.optimizers import apply_updates
from purenn.optimizers.lbfgs import (
    LBFGSState,
    ScaleByLBFGSState,
    lbfgs,
    scale_by_lbfgs,
    value_and_grad_from_state,
)
from purenn.optimizers.line_search import wolfe_line_search

ValueAndGrad = Callable[[Any], tuple[Any, Any]]

SHAPES = st.dictionaries(
    st.sampled_from("abc"),
    st.dictionaries(
        st.sampled_from(["kernel", "bias"]),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
        min_size=1,
    ),
    min_size=1,
)
SEEDS = st.integers(0, 2**32)


def frozen(x: Any) -> Any:
    """Read-only leaves: what writes to them fails."""
    for leaf in tree.leaves(x):
        leaf.setflags(write=False)
    return x


def draw_tree(rng: Any, shapes: Any, dtype: Any = np.float64) -> Any:
    return {
        step: draw_tree(rng, its, dtype)
        if isinstance(its, dict)
        else np.asarray(rng.normal(size=its), dtype)
        for step, its in shapes.items()
    }


def convex(rng: Any, like: Any) -> ValueAndGrad:
    """½⟨x, A·x⟩ + Σlog cosh(x − c) over all leaves, with A's eigenvalues from 1 to 10."""
    x0, unravel = tree.ravel(like)
    q = np.linalg.qr(rng.normal(size=(x0.size, x0.size)))[0]
    a, c = q @ np.diag(np.geomspace(1, 10, x0.size)) @ q.T, rng.normal(size=x0.size)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        x = tree.ravel(params)[0]
        grads = a @ x + np.tanh(x - c)
        return 0.5 * x @ a @ x + np.sum(np.log(np.cosh(x - c))), unravel(grads)

    return value_and_grad


def assert_close(got: Any, expected: Any, rtol: float) -> None:
    """Relative to the largest entry of the leaf, for entries that are differences."""
    tree.check_like("expected", jax.tree.map(np.asarray, expected), got)
    for (path, x), y in zip(tree.leaves_with_paths(got), jax.tree.leaves(expected), strict=True):
        atol = rtol * float(np.max(np.abs(y), initial=0))
        np.testing.assert_allclose(x, y, rtol=0, atol=atol, err_msg=tree.show(path))


@settings(max_examples=5)
@given(SHAPES, SEEDS, st.integers(1, 12), st.booleans(), st.floats(-2, 2))
def test_50_products_are_those_of_optax(
    shapes: Any, seed: int, memory_size: int, scaled: bool, exponent: float
) -> None:
    rng = np.random.default_rng(seed)
    params = draw_tree(rng, shapes)
    value_and_grad = convex(rng, params)
    ours, theirs = scale_by_lbfgs(memory_size, scaled), optax.scale_by_lbfgs(memory_size, scaled)
    state, their_state = ours.init(params), theirs.init(params)
    their_update = jax.jit(theirs.update)
    for _ in range(50):
        params = frozen(tree.map(lambda x: np.asarray(10**exponent * x), draw_tree(rng, shapes)))
        grads = frozen(value_and_grad(params)[1])
        updates, state = ours.update(grads, frozen(state), params)
        their_updates, their_state = their_update(grads, their_state, params)
        assert_close(updates, their_updates, 1e-12)
        assert_close(state._asdict(), their_state._asdict(), 1e-12)
    assert type(state).__name__ == type(their_state).__name__
    assert state._fields == their_state._fields


def arbitrary(seed: int, size: int, count: int) -> list[Any]:
    """Points and gradients that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    return [({"x": x}, {"x": g}) for x, g in rng.normal(size=(count, 2, size))]


@settings(max_examples=50)
@given(SEEDS, st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_the_product_descends_whatever_the_curvature(
    seed: int, size: int, memory_size: int, scaled: bool
) -> None:
    transformation = scale_by_lbfgs(memory_size, scaled)
    pairs = arbitrary(seed, size, 12)
    state = transformation.init(pairs[0][0])
    for (before, old), (params, grads) in zip([*pairs[:1], *pairs], pairs, strict=False):
        updates, state = transformation.update(grads, state, params)
        assert np.dot(updates["x"], grads["x"]) > 0
        s, y = params["x"] - before["x"], grads["x"] - old["x"]
        row = (int(state.count) - 2) % memory_size
        if s @ y > 0:
            assert state.weights_memory[row] == 1 / (s @ y)
        else:
            assert state.weights_memory[row] == 0


@settings(max_examples=50)
@given(SEEDS, st.integers(1, 6), st.integers(1, 8), st.booleans())
def test_the_product_is_that_of_the_matrix(
    seed: int, size: int, memory_size: int, scaled: bool
) -> None:
    """H written out, from the pairs of positive curvature alone."""
    rng = np.random.default_rng(seed)
    a = np.diag(np.geomspace(1, 10, size))
    transformation = scale_by_lbfgs(memory_size, scaled)
    x, g = np.zeros(size), rng.normal(size=size)
    state = transformation.init({"x": x})
    pairs: list[Any] = []
    for _ in range(12):
        updates, state = transformation.update({"x": g}, state, {"x": x})
        kept = [(s, y) for s, y in pairs[-memory_size:] if s @ y > 0]
        h = np.eye(size)
        if scaled and kept:
            s, y = kept[-1]
            h *= (s @ y) / (y @ y)
        elif scaled:
            h /= max(1.0, float(np.linalg.norm(g)))
        for s, y in kept:
            rho = 1 / (s @ y)
            v = np.eye(size) - rho * np.outer(y, s)
            h = v.T @ h @ v + rho * np.outer(s, s)
        np.testing.assert_allclose(updates["x"], h @ g, rtol=0, atol=1e-12 * np.abs(h).sum())
        if kept:
            s, y = kept[-1]
            np.testing.assert_allclose(h @ y, s, rtol=0, atol=1e-12 * np.abs(h).sum() * 10)
        s = rng.normal(size=size)
        y = rng.choice([1, 1, -1]) * (a @ s)
        pairs.append((s, y))
        x, g = x + s, g + y


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
        sum(np.vdot(g, d) for g, d in zip(tree.leaves(wide(gs)), tree.leaves(direction)))
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


def rosenbrock(size: int, seed: int) -> tuple[ValueAndGrad, Any]:
    start = np.resize([-1.2, 1.0], size) + 0.1 * np.random.default_rng(seed).normal(size=size)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        x, y = params["x"][:-1], params["x"][1:]
        grads = np.zeros(size)
        grads[:-1] = -400 * x * (y - x * x) - 2 * (1 - x)
        grads[1:] += 200 * (y - x * x)
        return np.sum(100 * (y - x * x) ** 2 + (1 - x) ** 2), {"x": grads}

    return value_and_grad, {"x": start}


def quadratic(size: int, seed: int) -> tuple[ValueAndGrad, Any]:
    """½(x − c)ᵀA(x − c) + 1, condition 1e4."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.normal(size=(size, size)))[0]
    a, c = q @ np.diag(np.geomspace(1e-2, 1e2, size)) @ q.T, rng.normal(size=size)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        grads = a @ (params["x"] - c)
        return 1 + 0.5 * (params["x"] - c) @ grads, {"x": grads}

    return value_and_grad, {"x": np.zeros(size)}


def classifier(hidden: int, seed: int, dtype: Any = np.float64) -> tuple[ValueAndGrad, Any]:
    """Softmax regression, or with tanh units before it, on 60 points."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 4)).astype(dtype)
    labels = (x @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3))).argmax(1)
    parts = {"hidden": layers.dense(hidden), "act": layers.tanh} if hidden else {}
    model = layers.serial(**parts, out=layers.dense(3))
    objective = training.objective(
        model, losses.softmax_cross_entropy_with_integer_labels, regularizers.l2(1e-2)
    )
    params, state, _ = model.init(random.key(seed % 2**31), (4,), dtype)

    def value_and_grad(params: Any) -> tuple[Any, Any]:
        (value, _), grads = objective.value_and_grad(params, state, (x, labels))
        return value, grads

    return value_and_grad, params


@pytest.mark.parametrize(
    ("make", "sizes"), [(rosenbrock, (2, 20)), (quadratic, (2, 8)), (classifier, (0, 0))]
)
@settings(max_examples=3)
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


@settings(max_examples=8)
@given(SEEDS, st.sampled_from([np.float32, np.float64]), st.sampled_from([1e-3, 1.0, 1e3]))
def test_every_step_of_a_network_satisfies_the_wolfe_conditions(
    seed: int, dtype: Any, learning_rate: float
) -> None:
    """A loss that is not convex; the steps end where they say, bit for bit, and never climb."""
    value_and_grad, params = classifier(3, seed, dtype)
    first = float(value_and_grad(params)[0])
    value, _, params = run(value_and_grad, params, 12, learning_rate=learning_rate)
    assert value < 0.9 * first
    assert {leaf.dtype for leaf in tree.leaves(params)} == {np.dtype(dtype)}


def step_of(
    value_and_grad: ValueAndGrad, params: Any, state: Any = None, **options: Any
) -> tuple[Any, LBFGSState]:
    optimizer = lbfgs(**options)
    value, grads = value_and_grad(params)
    return optimizer.update(  # type: ignore[no-any-return]
        grads,
        state or optimizer.init(params),
        params,
        value=value,
        value_and_grad_fn=value_and_grad,
    )


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
    value_and_grad, params = quadratic(3, 0)
    best = {"x": np.linalg.solve(np.eye(3), params["x"])}
    updates, state = step_of(lambda p: (0.5 * p["x"] @ p["x"], {"x": p["x"]}), best)
    assert not updates["x"].any()
    assert (state.evaluations, state.learning_rate, state.memory.count) == (0, 0, 1)


def test_a_step_that_finds_nothing_better_is_0_and_forgets() -> None:
    value_and_grad, params = rosenbrock(4, 0)
    _, state = step_of(value_and_grad, params)
    assert state.memory.weights_memory.any()
    lying = lambda p: (1.0 + np.abs(p["x"]).sum(), {"x": -np.ones(4)})  # noqa: E731
    updates, state = step_of(lying, {"x": np.zeros(4)}, state)
    assert not updates["x"].any()
    assert (state.learning_rate, state.value) == (0, 1)
    assert state.evaluations > 0
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


@settings(max_examples=10)
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
    kept = given_up = optimizer.init(params)
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
    search = functools.partial(wolfe_line_search, max_steps=1, c2=1e-9)
    _, state = step_of(value_and_grad, {"x": x}, linesearch=search)
    assert state.evaluations == 1


def test_the_extremes_of_float64_do_no_harm() -> None:
    """Where squares underflow or overflow it still descends, or stands still."""
    for scale in (1e-300, 1e-160, 1e150, 1e200, 1e300):
        value_and_grad = lambda p, k=scale: (0.5 * k * (p["x"] @ p["x"]), {"x": k * p["x"]})  # noqa: E731
        params: Any = {"x": np.array([3.0, -4.0])}
        state: Any = None
        for _ in range(5):
            before = value_and_grad(params)[0]
            updates, state = step_of(value_and_grad, params, state)
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


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grads": {"w": np.ones(3)}}, ShapeError, 'grads["w"] has shape (3,), expected (2,)'),
        ({"grads": {"w": np.ones(2, np.float32)}}, DtypeError, 'grads["w"] has dtype float32'),
        ({"grads": {"v": np.ones(2)}}, TreeError, "grads: trees differ at the root"),
        ({"params": {"v": np.ones(2)}}, TreeError, "params: trees differ at the root"),
        ({"params": None}, TreeError, "params: trees differ at the root"),
        ({"value": "1"}, DtypeError, "lbfgs: value is a str, expected a number"),
        ({"value": np.int64(1)}, DtypeError, "lbfgs: value has dtype int64"),
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
        inspect.unwrap(optimizer.update)(**call)
    if change.keys() & {"grads", "params"}:
        product = scale_by_lbfgs()
        with pytest.raises(error, match=re.escape(message)):
            product.update(call["grads"], product.init(ones), call["params"])


@pytest.mark.parametrize("make", [scale_by_lbfgs, lbfgs])
def test_options_outside_their_domain_are_refused(make: Any) -> None:
    name, bare = make.__name__, inspect.unwrap(make)
    with pytest.raises(DomainError, match=f"{name}: memory_size is 0, expected at least 1"):
        make(memory_size=0)
    with pytest.raises(DtypeError, match=rf"{name}: memory_size is 2\.0, expected an int"):
        bare(memory_size=2.0)
    with pytest.raises(DtypeError, match=f"{name}: scale_init_precond is 1, expected a bool"):
        bare(scale_init_precond=1)
    with pytest.raises(DtypeError, match=rf'{name}: params\["w"\] has dtype int64'):
        make().init({"w": np.ones(2, np.int64)})


@pytest.mark.parametrize("wrong", [-1.0, np.inf, np.nan])
def test_rates_outside_their_domain_are_refused(wrong: float) -> None:
    with pytest.raises(DomainError, match=f"lbfgs: learning_rate is {wrong}, expected a finite"):
        lbfgs(wrong)
    with pytest.raises(DomainError, match=rf"lbfgs: learning_rate\(0\) is {wrong}, expected a fin"):
        step_of(lambda p: (1.0, p), {"w": np.ones(2)}, learning_rate=lambda count: wrong)
    with pytest.raises(DtypeError, match="lbfgs: linesearch is None, expected a function"):
        inspect.unwrap(lbfgs)(linesearch=None)
