"""Weight decay, constant and scheduled, on all leaves or on some."""

from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import add_decayed_weights, chain, sgd
from purenn.regularizers import half_l2, is_weight
from tests.optimizers.beside_optax import assert_agrees, bound, draw_trees, taken

DECAYS = st.just(0.0) | st.floats(1e-4, 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scheduled", [False, True])
@pytest.mark.parametrize("some", [False, True])
@given(weight_decay=DECAYS, seed=st.integers(0, 2**32))
def test_decay_is_that_of_optax(
    weight_decay: float, seed: int, some: bool, scheduled: bool, dtype: Any
) -> None:
    assert_agrees(
        lambda weight_decay: chain(
            add_decayed_weights(
                (lambda count: weight_decay / (1 + count)) if scheduled else weight_decay,
                is_weight if some else None,
            ),
            sgd(0.01),
        ),
        bound(theirs_of, scheduled, some),
        {"weight_decay": weight_decay},
        seed,
        dtype,
        signed=True,
    )


def theirs_of(scheduled: bool, some: bool, weight_decay: Any) -> Any:
    decay = (lambda count: weight_decay / (1 + count)) if scheduled else weight_decay
    return optax.chain(optax.add_decayed_weights(decay, kernels if some else None), optax.sgd(0.01))


def kernels(params: Any) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def test_before_the_rate_it_is_the_gradient_of_half_l2() -> None:
    params = taken(draw_trees(0, np.float64, 1, signed=True), 0)
    grads = taken(draw_trees(1, np.float64, 1, signed=True), 0)
    decayed = add_decayed_weights(0.3, is_weight)
    updates, _ = decayed.update(grads, decayed.init(params), params)
    penalties = half_l2(0.3).grad(params)
    for layer, leaves in grads.items():
        for name, g in leaves.items():
            np.testing.assert_allclose(updates[layer][name], g + penalties[layer][name], rtol=1e-15)


def test_what_decays_must_be_there() -> None:
    params = {"w": np.ones(2)}
    for decay in (0.1, 0.0):
        decayed = add_decayed_weights(decay)
        with pytest.raises(TreeError, match="params is None, expected the parameters"):
            decayed.update(params, decayed.init(params))


def test_arguments_outside_their_domain_are_refused(unannotated: None) -> None:
    with pytest.raises(DomainError, match=r"weight_decay is -0.1, expected"):
        add_decayed_weights(-0.1)
    with pytest.raises(DtypeError, match=r"weight_decay is 'much', expected a number"):
        add_decayed_weights("much")  # type: ignore[arg-type]
    late = add_decayed_weights(lambda count: float("nan"))
    params = {"w": np.ones(2)}
    with pytest.raises(DomainError, match=r"weight_decay\(0\) is nan, expected"):
        late.update(params, late.init(params), params)
