"""What each JAX primitive does to balls and their tangents, exactly."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from flint import arb

from purenn.typing import Array
from purenn.verify.balls import Balls, from_floats, from_integers, is_number, lift, zeros


class UnknownPrimitiveError(NotImplementedError):
    """The trace holds a primitive that has no exact rule here."""


class BlurredError(ArithmeticError):
    """Two balls overlap, so that a comparison cannot be decided with so few bits."""


class Dual(NamedTuple):
    """An array of balls (or of plain integers or booleans) with its tangents."""

    value: Balls
    tangents: Balls | None
    """One per direction, in front: (directions, *shape); ``None`` where all are zero."""


_Function: TypeAlias = Callable[..., Any]

# Primitives that copy elements from place to place.
_MOVES = {"gather", "slice", "pad", "dynamic_slice", "dynamic_update_slice"}


def enter(x: Any) -> Any:
    """What JAX holds, as it is held here: floats as balls, anything else as it is."""
    x = np.asarray(x)
    return from_floats(x) if x.dtype != object and is_number(x) else x


def apply(equation: Any, inputs: list[Dual]) -> list[Dual]:
    """The results of one equation of a trace.

    Raises:
        UnknownPrimitiveError: its primitive has no exact rule.
        BlurredError: a comparison needs more bits.
    """
    name, params = equation.primitive.name, equation.params
    values = [x.value for x in inputs]
    if name in _ELEMENTWISE:
        return [_elementwise(*_ELEMENTWISE[name], inputs)]
    if name == "integer_pow":
        n = params["y"]
        return [_elementwise(lambda x: x**n, (lambda x, _: n * x ** (n - 1),), inputs)]
    if name in _CONSTANT:
        return [Dual(np.asarray(_CONSTANT[name](*values)), None)]
    if name in _LINEAR:
        return [_linear(lambda *xs: _LINEAR[name](params, *xs), inputs)]
    if name == "select_n":
        which, cases = inputs[0].value, inputs[1:]
        return [_linear(lambda *xs: _select(which, *xs), cases)]
    if name == "dot_general":
        return [_dot_general(params, *inputs)]
    if name in ("reduce_max", "reduce_min"):
        return [_extremum(name, params["axes"], inputs[0])]
    if all(x.dtype != object for x in values):
        results = equation.primitive.bind(*values, **params)
        several = equation.primitive.multiple_results
        return [Dual(enter(y), None) for y in (results if several else [results])]
    if name in _MOVES:
        return [_linear(lambda *xs: _move(equation, xs), inputs)]
    raise UnknownPrimitiveError(f"no exact rule for the primitive {name!r}")


def _elementwise(function: _Function, partials: Sequence[_Function], inputs: list[Dual]) -> Dual:
    """The chain rule: each partial derivative, a function of the inputs and the result."""
    values = [x.value for x in inputs]
    y = np.asarray(function(*values))
    terms = [
        partial(*values, y) * _expanded(x.tangents, y.ndim)
        for partial, x in zip(partials, inputs, strict=True)
        if x.tangents is not None
    ]
    return Dual(y, np.asarray(sum(terms[1:], terms[0]), object) if terms else None)


def _expanded(tangents: Balls, rank: int) -> Balls:
    """Tangents of a scalar that stands beside an array, with room for the axes of the array."""
    directions, *shape = tangents.shape
    return tangents.reshape((directions, *[1] * (rank - len(shape)), *shape))


def _linear(function: _Function, inputs: Sequence[Dual]) -> Dual:
    """A linear map of all its inputs together acts on the tangents as it does on the values."""
    y = np.asarray(function(*[x.value for x in inputs]))
    if all(x.tangents is None for x in inputs):
        return Dual(y, None)
    directions = next(len(x.tangents) for x in inputs if x.tangents is not None)
    stacked = np.empty((directions, *y.shape), object)
    for i in range(directions):
        stacked[i, ...] = function(*[_direction(x, i) for x in inputs])
    return Dual(y, stacked)


def _direction(x: Dual, i: int) -> Balls:
    """The tangent of ``x`` in direction ``i``; integers, which only say where, stay as they are."""
    if x.tangents is not None:
        return x.tangents[i, ...]
    return zeros(x.value.shape) if x.value.dtype == object else x.value


def _move(equation: Any, inputs: Sequence[Balls]) -> Balls:
    """Let JAX move the positions of the elements, then put the elements there."""
    elements: list[Any] = []
    ids = []
    for x in inputs:
        if x.dtype == object:
            ids.append(np.arange(len(elements), len(elements) + x.size).reshape(x.shape))
            elements.extend(x.flat)
        else:
            ids.append(x)
    # What lies outside is filled with element 0: a gather in bounds never shows it.
    params = equation.params | ({"fill_value": 0} if "fill_value" in equation.params else {})
    moved = np.asarray(equation.primitive.bind(*ids, **params))
    array = np.empty(len(elements), object)
    array[:] = elements
    return array[moved]


def _select(which: Array, *cases: Balls) -> Balls:
    return np.choose(np.broadcast_to(which, cases[0].shape).astype(int), cases)


def _broadcast(params: dict[str, Any], x: Balls) -> Balls:
    shape = [1] * len(params["shape"])
    for size, axis in zip(x.shape, params["broadcast_dimensions"], strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), params["shape"])


def _convert(params: dict[str, Any], x: Balls) -> Balls:
    floating = jax.numpy.issubdtype(params["new_dtype"], np.floating)
    if x.dtype == object:
        if not floating:
            raise UnknownPrimitiveError("no exact rule for a conversion from float to integer")
        return x  # rounding is what exact arithmetic does not do
    return from_integers(x) if floating else x.astype(params["new_dtype"])


def _sum(params: dict[str, Any], x: Balls) -> Balls:
    zero = arb(0) if x.dtype == object else 0
    return np.asarray(np.add.reduce(x, axis=params["axes"], initial=zero), x.dtype)


def _dot_general(params: dict[str, Any], a: Dual, b: Dual) -> Dual:
    def product(x: Balls, y: Balls) -> Balls:
        return _contract(params["dimension_numbers"], x, y)

    left = _linear(lambda x: product(x, b.value), [a]).tangents
    right = _linear(lambda y: product(a.value, y), [b]).tangents
    terms = [t for t in (left, right) if t is not None]
    return Dual(product(a.value, b.value), sum(terms[1:], terms[0]) if terms else None)


def _contract(dimension_numbers: Any, a: Balls, b: Balls) -> Balls:
    (contract_a, contract_b), (batch_a, batch_b) = dimension_numbers
    of_a, of_b = list(range(a.ndim)), list(range(a.ndim, a.ndim + b.ndim))
    for i, j in zip((*contract_a, *batch_a), (*contract_b, *batch_b), strict=True):
        of_b[j] = of_a[i]
    out = [of_a[i] for i in batch_a]
    out += [d for i, d in enumerate(of_a) if i not in (*contract_a, *batch_a)]
    out += [d for j, d in enumerate(of_b) if j not in (*contract_b, *batch_b)]
    sizes = dict(zip(of_a + of_b, a.shape + b.shape, strict=True))
    if 0 in sizes.values():
        return zeros(tuple(sizes[d] for d in out))
    return np.asarray(np.einsum(a, of_a, b, of_b, out), object)


def _extremum(name: str, axes: Sequence[int], x: Dual) -> Dual:
    fold = np.maximum if name == "reduce_max" else np.minimum
    if not axes:
        return x
    y = np.asarray(fold.reduce(x.value, axis=tuple(axes)), x.value.dtype)
    if x.tangents is None:
        return Dual(y, None)
    extreme = _equal(x.value, np.expand_dims(y, tuple(axes)))
    tangents = np.empty((len(x.tangents), *y.shape), object)
    kept = [axis for axis in range(x.value.ndim) if axis not in axes]
    for place in np.ndindex(tangents.shape):
        index: list[Any] = [slice(None)] * x.value.ndim
        for axis, i in zip(kept, place[1:], strict=True):
            index[axis] = i
        tied = extreme[tuple(index)]
        tangents[place] = _hull(x.tangents[place[0]][tuple(index)][tied])
    return Dual(y, tangents)


def _hull(balls: Iterable[arb]) -> arb:
    first, *others = balls
    for other in others:
        first = first if other == first else first.union(other)
    return first


def _decided(answer: bool, opposite: bool) -> bool:
    if answer == opposite:
        raise BlurredError
    return answer


def _compare(numeric: _Function, on_balls: Callable[[arb, arb], bool]) -> _Function:
    lifted = lift(on_balls, 2)

    def compare(a: Balls, b: Balls) -> Balls:
        return lifted(a, b).astype(bool) if a.dtype == object else np.asarray(numeric(a, b))

    return compare


_greater = _compare(np.greater, lambda a, b: _decided(bool(a > b), bool(a <= b)))
_equal = _compare(np.equal, lambda a, b: a is b or _decided(bool(a == b), bool(a != b)))


def _step(a: arb, b: arb) -> arb:
    """d max(a, b)/da: 1, 0, or at a tie the ball from 0 to 1."""
    if a == b:
        return arb(0.5, 0.5)
    return arb(int(_decided(bool(a > b), bool(a < b))))


def _sign(x: arb) -> arb:
    return arb(0) if x == 0 else arb(1) if _decided(bool(x > 0), bool(x < 0)) else arb(-1)


_partial_max = lift(_step, 2)


def _one(*_: Any) -> Any:
    return np.asarray(arb(1), object)


def _minus_one(*_: Any) -> Any:
    return np.asarray(arb(-1), object)


def _method(name: str) -> _Function:
    return lift(lambda x: getattr(x, name)())


# name: (function, its partial derivatives as functions of the inputs and the result)
_ELEMENTWISE: dict[str, tuple[_Function, tuple[_Function, ...]]] = {
    "add": (np.add, (_one, _one)),
    "add_any": (np.add, (_one, _one)),
    "sub": (np.subtract, (_one, _minus_one)),
    "mul": (np.multiply, (lambda a, b, y: b, lambda a, b, y: a)),
    "div": (np.divide, (lambda a, b, y: 1 / b, lambda a, b, y: -y / b)),
    "pow": (
        np.power,
        (lambda a, b, y: b * a ** (b - 1), lambda a, b, y: _method("log")(a) * y),
    ),
    "max": (
        lift(lambda a, b: a.max(b), 2),
        (lambda a, b, y: _partial_max(a, b), lambda a, b, y: _partial_max(b, a)),
    ),
    "min": (
        lift(lambda a, b: a.min(b), 2),
        (lambda a, b, y: _partial_max(b, a), lambda a, b, y: _partial_max(a, b)),
    ),
    "neg": (np.negative, (_minus_one,)),
    "abs": (np.abs, (lambda x, y: 2 * _partial_max(x, -x) - 1,)),
    "square": (np.square, (lambda x, y: 2 * x,)),
    "one_minus_square": (lambda x: 1 - x * x, (lambda x, y: -2 * x,)),
    "sqrt": (_method("sqrt"), (lambda x, y: 1 / (2 * y),)),
    "rsqrt": (_method("rsqrt"), (lambda x, y: -y / (2 * x),)),
    "exp": (_method("exp"), (lambda x, y: y,)),
    "exp2": (lift(lambda x: arb(2) ** x), (lambda x, y: y * arb(2).log(),)),
    "expm1": (_method("expm1"), (lambda x, y: y + 1,)),
    "log": (_method("log"), (lambda x, y: 1 / x,)),
    "log1p": (_method("log1p"), (lambda x, y: 1 / (1 + x),)),
    "logistic": (lift(lambda x: 1 / (1 + (-x).exp())), (lambda x, y: y * (1 - y),)),
    "tanh": (_method("tanh"), (lambda x, y: 1 - y * y,)),
    "sinh": (_method("sinh"), (lambda x, y: _method("cosh")(x),)),
    "cosh": (_method("cosh"), (lambda x, y: _method("sinh")(x),)),
    "sin": (_method("sin"), (lambda x, y: _method("cos")(x),)),
    "cos": (_method("cos"), (lambda x, y: -_method("sin")(x),)),
    "tan": (_method("tan"), (lambda x, y: 1 + y * y,)),
    "atan": (_method("atan"), (lambda x, y: 1 / (1 + x * x),)),
    "erf": (_method("erf"), (lambda x, y: 2 / arb.pi().sqrt() * _method("exp")(-x * x),)),
    "erfc": (_method("erfc"), (lambda x, y: -2 / arb.pi().sqrt() * _method("exp")(-x * x),)),
    "lgamma": (_method("lgamma"), (lambda x, y: _method("digamma")(x),)),
}

# Primitives without a derivative: comparisons, logic, and whatever is constant by pieces.
_CONSTANT: dict[str, _Function] = {
    "gt": _greater,
    "lt": lambda a, b: _greater(b, a),
    "ge": lambda a, b: ~_greater(b, a),
    "le": lambda a, b: ~_greater(a, b),
    "eq": _equal,
    "ne": lambda a, b: ~_equal(a, b),
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "sign": lift(_sign),
    "is_finite": lambda x: lift(lambda ball: ball.is_finite())(x).astype(bool),
    "stop_gradient": lambda x: x,
}

# Linear maps of one or several arrays, by their parameters.
_LINEAR: dict[str, _Function] = {
    "convert_element_type": _convert,
    "copy": lambda p, x: x,
    "reshape": lambda p, x: x.reshape(p["new_sizes"]),
    "squeeze": lambda p, x: np.squeeze(x, p["dimensions"]),
    "expand_dims": lambda p, x: np.expand_dims(x, p["dimensions"]),
    "transpose": lambda p, x: np.transpose(x, p["permutation"]),
    "rev": lambda p, x: np.flip(x, p["dimensions"]),
    "concatenate": lambda p, *xs: np.concatenate(xs, p["dimension"]),
    "broadcast_in_dim": _broadcast,
    "reduce_sum": _sum,
}
