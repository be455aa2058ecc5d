"""A constraint on weights, for after an update."""

import numpy as np

from purenn.contract import check_number, rule
from purenn.ops._axes import Axis, axes_of
from purenn.ops._numerics import narrow, widen
from purenn.typing import Annotated, Array, Float, OneOf, Pullback, Shape


@rule
def max_norm(
    kernel: Float[Array, "*inputs out"],
    *,
    max_value: float = 2.0,
    axis: Annotated[Axis, OneOf(None, -1)] = None,
) -> Float[Array, "*inputs out"]:
    """Shrink the weights w of each unit to ‖w‖₂ ≤ c = ``max_value``: w·min(1, c/‖w‖).

    ‖w‖ is over ``axis``, by default all but the last: the incoming weights of a unit of ``dense``
    or of a channel of a convolution. This is a projection, applied after an update (Srivastava et
    al. 2014, JMLR 15, section 5.1; ``keras.constraints.MaxNorm``).

    Raises DtypeError where ``max_value`` is no number, DomainError where it is not positive,
    ShapeError where there is no such axis.
    """
    axes = _check("max_norm", kernel, max_value, axis)
    unit, norm = _unit_vectors(kernel, axes)
    return narrow(np.where(norm > max_value, unit * max_value, kernel), kernel)


@rule
def max_norm_vjp(
    kernel: Float[Array, "*inputs out"],
    *,
    max_value: float = 2.0,
    axis: Annotated[Axis, OneOf(None, -1)] = None,
) -> tuple[Float[Array, "*inputs out"], Pullback]:
    """``max_norm`` with its pullback.

    Inside the ball, and on its surface, dw = dy. Outside, with u = w/‖w‖, ∂yᵢ/∂wⱼ =
    c/‖w‖·(δᵢⱼ − uᵢuⱼ), so dw = c/‖w‖·(dy − u⟨u, dy⟩): what points along w does not get through.
    Where one weight outweighs the others its own terms cancel; done twice, what rounding left of
    them is gone too ("twice is enough", as for Gram–Schmidt: Parlett, The Symmetric Eigenvalue
    Problem, 6.9). ‖w‖ is that of w/max|w|, times max|w|: no square overflows.
    """
    axes = _check("max_norm", kernel, max_value, axis)
    unit, norm = _unit_vectors(kernel, axes)

    def pullback(dy: Array) -> tuple[Array]:
        wide = rest = widen(dy)
        for _ in range(2):
            rest = rest - unit * np.sum(unit * rest, axis=axes, keepdims=True)
        shrunk = rest * (max_value / np.maximum(norm, max_value))
        return (narrow(np.where(norm > max_value, shrunk, wide), kernel),)

    return narrow(np.where(norm > max_value, unit * max_value, kernel), kernel), pullback


def _unit_vectors(kernel: Array, axes: Shape) -> tuple[Array, Array]:
    """w/‖w‖, 0 where w is, and ‖w‖ with the axes kept."""
    wide = widen(kernel)
    top = np.max(np.abs(wide), axis=axes, keepdims=True, initial=0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        part = np.divide(wide, top, out=np.zeros_like(wide), where=top != 0)
        length = np.sqrt(np.sum(np.square(part), axis=axes, keepdims=True))
        length = np.where(np.isinf(top), 1, length)  # beside ±∞, which is NaN, all else is 0
        unit = np.divide(part, length, out=np.zeros_like(wide), where=length != 0)
        return unit, top * length


def _check(name: str, kernel: Array, max_value: float, axis: Axis) -> Shape:
    check_number(name, "max_value", max_value, gt=0)
    if axis is None:
        return tuple(range(kernel.ndim - 1))
    return axes_of(name, kernel, axis, "kernel")
