"""Clipping beside optax, at any magnitude, and without a copy where nothing is to be done."""

import re
from functools import partial
from typing import Any

import hypothesis.strategies as st
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn import optimizers, tree
from purenn.errors import DomainError, DtypeError
from purenn.optimizers import clip, clip_by_block_rms, clip_by_global_norm
from tests.optimizers.beside_optax import assert_agrees

BOUNDS = st.floats(1e-3, 1e3)
SEEDS = st.integers(0, 2**32)
ALL: Any = {
    "clip": clip,
    "clip_by_block_rms": clip_by_block_rms,
    "clip_by_global_norm": clip_by_global_norm,
}
ARGUMENTS = {
    "clip": "max_delta",
    "clip_by_block_rms": "threshold",
    "clip_by_global_norm": "max_norm",
}


def all_of(of: Any, max_delta: Any, threshold: Any, max_norm: Any) -> Any:
    return of.chain(
        of.clip(max_delta), of.clip_by_block_rms(threshold), of.clip_by_global_norm(max_norm)
    )


OURS, THEIRS = partial(all_of, optimizers), partial(all_of, optax)


@given(max_delta=BOUNDS, threshold=BOUNDS, max_norm=BOUNDS, seed=SEEDS, signed=st.booleans())
def test_clipping_is_that_of_optax(seed: int, signed: bool, **bounds: float) -> None:
    assert_agrees(OURS, THEIRS, bounds, seed, signed=signed)


@given(seed=SEEDS, exponent=st.integers(-30, 37), dtype=st.sampled_from([np.float32, np.float64]))
def test_what_is_clipped_has_the_norm_that_is_asked_for(
    seed: int, exponent: int, dtype: Any
) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** (exponent if dtype == np.float32 else 8 * exponent)
    grads = {"a": (scale * rng.uniform(0.5, 3, (50, 3))).astype(dtype), "b": np.ones(2, dtype)}
    close = 32 * np.finfo(dtype).eps

    def clipped(optimizer: Any) -> Any:
        return optimizer.update(grads, optimizer.init(grads))[0]

    norm = tree.norm(clipped(clip_by_global_norm(0.5)))
    np.testing.assert_allclose(norm, min(0.5, tree.norm(grads)), rtol=close)
    for got, before in zip(clipped(clip_by_block_rms(0.5)).values(), grads.values(), strict=True):
        rms = tree.norm(before) / np.sqrt(before.size)
        np.testing.assert_allclose(tree.norm(got) / np.sqrt(got.size), min(0.5, rms), rtol=close)


@pytest.mark.parametrize("donate", [False, True])
@pytest.mark.parametrize("optimizer", [clip_by_global_norm(4.0), clip_by_block_rms(2.0)])
def test_what_is_within_the_bound_is_neither_copied_nor_written_to(
    optimizer: Any, donate: bool
) -> None:
    grads = {"a": np.full((2, 2), 2.0), "b": np.zeros(0)}
    updates, _ = optimizer.update(grads, optimizer.init(grads), donate=donate)
    assert all(updates[key] is grads[key] for key in grads)


@pytest.mark.parametrize(
    ("bad", "global_", "block"),
    [
        (np.nan, {"a": [np.nan, np.nan], "b": [np.nan]}, {"a": [np.nan, np.nan], "b": [0.5]}),
        (-np.inf, {"a": [0, np.nan], "b": [0]}, {"a": [0, np.nan], "b": [0.5]}),
    ],
)
def test_a_norm_that_is_not_finite_does_as_in_optax(bad: float, global_: Any, block: Any) -> None:
    grads = {"a": np.array([3.0, bad]), "b": np.array([2.0])}
    for name, expected in (("clip_by_global_norm", global_), ("clip_by_block_rms", block)):
        ours, theirs = ALL[name](0.5), getattr(optax, name)(0.5)
        got, _ = ours.update(grads, ours.init(grads))
        their_got, _ = theirs.update(grads, theirs.init(grads))
        for key in grads:
            np.testing.assert_array_equal(got[key], expected[key])
            np.testing.assert_array_equal(their_got[key], expected[key])
    elementwise = clip(0.5)
    got, _ = elementwise.update(grads, elementwise.init(grads))
    np.testing.assert_array_equal(got["a"], [0.5, np.clip(bad, -0.5, 0.5)])


@given(st.sampled_from([*ALL]), st.floats(max_value=-1e-300) | st.just(np.inf) | st.just(np.nan))
def test_a_bound_out_of_its_domain_is_refused(name: str, wrong: float) -> None:
    sign = "≥" if name == "clip" else ">"
    message = f"{name}: {ARGUMENTS[name]} is {wrong}, expected a finite number {sign} 0"
    with pytest.raises(DomainError, match=re.escape(message)):
        ALL[name](wrong)


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("wrong", [None, "1", True, np.ones(2)])
def test_a_bound_that_is_no_number_is_refused(name: str, wrong: Any) -> None:
    message = f"{name}: {ARGUMENTS[name]} is {wrong!r}, expected a number"
    with pytest.raises(DtypeError, match=re.escape(message)):
        ALL[name](wrong)
