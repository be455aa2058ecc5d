"""What every transformation refuses, and by which name."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from purenn import tree
from purenn.errors import DtypeError, TreeError
from purenn.optimizers import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    adam,
    adamw,
    apply_gradients,
    apply_if_finite,
    apply_updates,
    chain,
    clip,
    clip_by_block_rms,
    clip_by_global_norm,
    identity,
    inject_hyperparams,
    masked,
    raise_if_not_finite,
    scale,
    scale_by_adam,
    scale_by_lbfgs,
    scale_by_trust_ratio,
    set_to_zero,
    sgd,
    trace,
)
from tests.optimizers.problems import bits


@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda: scale(2), "scale"), (lambda: clip(1.0), "clip"), (identity, "identity"),
     (set_to_zero, "set_to_zero"), (raise_if_not_finite, "raise_if_not_finite"),
     (lambda: clip_by_block_rms(1.0), "clip_by_block_rms"), (scale_by_adam, "scale_by_adam"),
     (lambda: clip_by_global_norm(1.0), "clip_by_global_norm"),
     (scale_by_trust_ratio, "scale_by_trust_ratio")],
)  # fmt: skip
def test_what_has_the_state_of_another_is_named(make: Any, name: str, unannotated: None) -> None:
    params, optimizer = {"w": np.ones(2)}, make()
    expected = type(optimizer.init(params)).__name__
    with pytest.raises(TreeError, match=f"^{name}: opt_state is a TraceState, expected {expected}"):
        optimizer.update(params, trace(0.9).init(params), params)
    theirs = {"EmptyState": optax.EmptyState(), "ScaleByAdamState": optax.scale_by_adam().init({})}
    message = rf"^{name}: opt_state is a optax\..*\.{expected}, expected purenn\..*\.{expected}$"
    with pytest.raises(TreeError, match=message):
        optimizer.update(params, theirs[expected], params)


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("foreign", [jnp.asarray, np.ma.masked_array, np.ndarray.tolist])
def test_parameters_and_states_that_are_no_numpy_arrays_are_refused(
    foreign: Any, donate: bool
) -> None:
    params: Any = {"a": {"w": np.ones(2)}, "b": np.ones((2, 1))}
    grads = tree.map(np.copy, params)
    bad = {"a": {"w": foreign(params["a"]["w"])}, "b": params["b"]}
    for optimizer in (
        sgd(0.1),
        adam(0.1),
        adamw(0.1, mask=True),
        masked(adam(0.1), True),
        scale_by_lbfgs(),
    ):
        state = optimizer.init(params)
        for update in (
            lambda: optimizer.update(grads, state, bad, donate=donate),  # noqa: B023
            lambda: apply_gradients(optimizer, grads, state, bad, donate=donate),  # noqa: B023
            lambda: apply_updates(bad, grads, donate=donate),
        ):
            with pytest.raises((DtypeError, TreeError), match=r'params.*\["a"\]\["w"\]'):
                update()
    state = trace(0.9).init(params)._replace(trace=bad)
    with pytest.raises((DtypeError, TreeError), match=r'opt_state.*\["a"\]\["w"\]'):
        trace(0.9).update(grads, state, donate=donate)
    assert bits((params, grads)) == bits(({"a": {"w": np.ones(2)}, "b": np.ones((2, 1))},) * 2)


def test_arrays_that_live_in_a_file_are_numpy_arrays(tmp_path: Any) -> None:
    mapped = np.lib.format.open_memmap(tmp_path / "w.npy", "w+", np.float64, (3,))
    mapped[...] = 1
    params, grads = {"w": mapped}, {"w": np.ones(3)}
    got, _ = apply_gradients(sgd(0.5), grads, sgd(0.5).init(params), params)
    np.testing.assert_array_equal(got["w"], 0.5)


def test_parameters_that_are_integers_are_to_blame(unannotated: None) -> None:
    params, updates = {"w": np.ones(3, np.int64)}, {"w": np.ones(3, np.float32)}
    with pytest.raises(DtypeError, match=r'params\["w"\] has dtype int64, expected a floating'):
        apply_updates(params, updates)


@pytest.mark.parametrize("optimizer", [
    adam(0.1), sgd(0.1), masked(sgd(0.1), True), scale_by_lbfgs(),
    chain(sgd(0.1), apply_if_finite(adam(0.1), 3)), inject_hyperparams(sgd)(0.1),
], ids=["adam", "sgd", "masked", "scale_by_lbfgs", "chain", "injected"])  # fmt: skip
def test_keywords_that_nobody_takes_are_refused(optimizer: GradientTransformation) -> None:
    params = {"w": np.ones(3)}
    state = optimizer.init(params)
    with pytest.raises(DtypeError, match=r"update: got \['dontae'\], which this optimizer does"):
        optimizer.update(params, state, params, dontae=True)
    with pytest.raises(DtypeError, match=r"got \['value'\], which"):
        apply_gradients(optimizer, params, state, params, value=1.0)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: apply_if_finite(x, 3), chain])
def test_keywords_reach_the_part_that_takes_them(wrap: Any) -> None:
    seen: list[Any] = []

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        seen.append(extra)
        return grads, state

    optimizer = wrap(GradientTransformationExtraArgs(lambda params: (), update))
    params = {"w": np.ones(3)}
    apply_gradients(optimizer, params, optimizer.init(params), params, hint=3)
    assert seen == [{"hint": 3, "donate": False}]


def test_a_factory_is_no_optimizer(unannotated: None) -> None:
    params: Any = {"w": np.ones(2)}
    message = r"optimizer is a function, expected a Grad.*; did you mean adam\(\.\.\.\)\?"
    with pytest.raises(DtypeError, match=message):
        apply_gradients(adam, params, (), params)  # type: ignore[arg-type]
    with pytest.raises(DtypeError, match=r"transformations\[0\] is a function, .*Transformation$"):
        chain(lambda rate: sgd(rate))  # type: ignore[arg-type]
