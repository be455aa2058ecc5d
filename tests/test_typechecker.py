"""What enforces the annotations keeps what it made: no function may be held to those of another."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from jaxtyping import TypeCheckError, jaxtyped

from purenn.typing import Array, Float
from tests.typechecker import checked


def annotated(function: Callable[[Any], Any], x: Any, y: Any) -> Callable[[Any], Any]:
    """A new one for each call, as pullbacks are, with these annotations."""

    def same(x: Any) -> Any:
        return function(x)

    same.__annotations__ = {"x": x, "return": y}
    return jaxtyped(same, typechecker=checked)


Vector, Matrix = Float[Array, "n"], Float[Array, "rows columns"]


@pytest.mark.parametrize("_", range(2))
def test_each_function_is_held_to_its_own_annotations(_: int) -> None:
    x = np.arange(3.0)
    assert annotated(np.diag, Vector, Matrix)(x).shape == (3, 3)
    for wrong in (annotated(np.sum, Vector, Vector), annotated(np.sum, Matrix, np.float64)):
        with pytest.raises(TypeCheckError):
            wrong(x)
    assert annotated(np.sum, Vector, np.float64)(x) == 3
