"""Functions of single numbers and their partial derivatives: the chain rule."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flint import arb

from purenn.verify.balls import Balls, lift
from purenn.verify.primitives.duals import Dual, Function, around, expanded, settled


def elementwise(function: Function, partials: Sequence[Function], inputs: Sequence[Dual]) -> Dual:
    """The chain rule: each partial derivative, a function of the inputs and the result."""
    y = np.asarray(function(*[x.value for x in inputs]))
    jumps = any(x.nearby is not None for x in inputs)
    points = [around(x, y.ndim) if jumps else x.value for x in inputs]
    points.append(np.asarray(function(*points)) if jumps else y)
    times = _product if jumps else np.multiply
    terms = [
        times(partial(*points), expanded(x.tangents, y.ndim))
        for partial, x in zip(partials, inputs, strict=True)
        if x.tangents is not None
    ]
    tangents = sum(terms[1:], terms[0]) if terms else None
    if tangents is not None and tangents.shape[1:] != y.shape:
        tangents = np.broadcast_to(tangents, (len(tangents), *y.shape))
    if not jumps:
        return Dual(y, tangents)
    directions = next(len(x.nearby) for x in inputs if x.nearby is not None)
    return settled(Dual(y, tangents, np.broadcast_to(points[-1], (directions, *y.shape))))


def smooth(name: str, *inputs: Dual) -> Dual:
    """A function of the table by its name."""
    return elementwise(*SMOOTH[name], inputs)


def integer_power(n: int, x: Dual) -> Dual:
    """xⁿ."""
    return elementwise(lambda x: x**n, [lambda x, y: n * x ** (n - 1) if n else 0 * x], [x])


def polynomial(x: Dual, *coefficients: Dual) -> Dual:
    """Σ cₖxᵏ, by Horner's rule."""
    *others, y = coefficients
    for c in reversed(others):
        y = smooth("add", smooth("mul", y, x), c)
    return y


def _wide(ball: arb) -> bool:
    return bool(ball.rel_accuracy_bits() < 20 and ball.is_finite())


def _times(a: arb, b: arb) -> arb:
    """The product; of two wide balls no wider than the products of their ends."""
    if not (_wide(a) and _wide(b)):
        return a * b
    first, *others = (x * y for x in (a.lower(), a.upper()) for y in (b.lower(), b.upper()))
    for other in others:
        first = first.union(other)
    return first


_product = lift(_times, 2)


def _power_by_base(a: arb, b: arb) -> arb:
    return arb(0) if b == 0 else b * a ** (b - 1)


def _power_by_exponent(a: arb, b: arb, y: arb) -> arb:
    return arb(0) if a == 0 and b >= 0 else y * a.log()


def _cbrt(x: arb) -> arb:
    return x if x == 0 else x.root(3) if x > 0 else -(-x).root(3)


def _lgamma(x: arb) -> arb:
    return x.lgamma() if x > 0 else abs(x.gamma()).log()


def _logaddexp(a: arb, b: arb) -> arb:
    high, low = (a, b) if a.mid() > b.mid() else (b, a)
    return high + (low - high).exp().log1p()


def _one(*_: Any) -> Balls:
    return np.asarray(arb(1), object)


def _minus_one(*_: Any) -> Balls:
    return np.asarray(arb(-1), object)


def _method(name: str) -> Function:
    return lift(lambda x: getattr(x, name)())


_square_root, _exp, _log = _method("sqrt"), _method("exp"), _method("log")
_logistic = lift(lambda x: 1 / (1 + (-x).exp()))

# name: (function, its partial derivatives as functions of the inputs and the result)
SMOOTH: dict[str, tuple[Function, tuple[Function, ...]]] = {
    "add": (np.add, (_one, _one)),
    "add_any": (np.add, (_one, _one)),
    "sub": (np.subtract, (_one, _minus_one)),
    "mul": (np.multiply, (lambda a, b, y: b, lambda a, b, y: a)),
    "div": (np.divide, (lambda a, b, y: 1 / b, lambda a, b, y: -y / b)),
    "pow": (
        np.power,
        (lambda a, b, y: lift(_power_by_base, 2)(a, b), lift(_power_by_exponent, 3)),
    ),
    "neg": (np.negative, (_minus_one,)),
    "square": (np.square, (lambda x, y: 2 * x,)),
    "one_minus_square": (lambda x: 1 - x * x, (lambda x, y: -2 * x,)),
    "sqrt": (_square_root, (lambda x, y: 1 / (2 * y),)),
    "rsqrt": (_method("rsqrt"), (lambda x, y: -y / (2 * x),)),
    "cbrt": (lift(_cbrt), (lambda x, y: 1 / (3 * y * y),)),
    "exp": (_exp, (lambda x, y: y,)),
    "exp2": (lift(lambda x: arb(2) ** x), (lambda x, y: y * arb(2).log(),)),
    "expm1": (_method("expm1"), (lambda x, y: y + 1,)),
    "log": (_log, (lambda x, y: 1 / x,)),
    "log2": (lift(lambda x: x.log() / arb(2).log()), (lambda x, y: 1 / (x * arb(2).log()),)),
    "log1p": (_method("log1p"), (lambda x, y: 1 / (1 + x),)),
    "logaddexp": (
        lift(_logaddexp, 2),
        (lambda a, b, y: _exp(a - y), lambda a, b, y: _exp(b - y)),
    ),
    "logistic": (_logistic, (lambda x, y: y * (1 - y),)),
    "tanh": (_method("tanh"), (lambda x, y: 1 - y * y,)),
    "sinh": (_method("sinh"), (lambda x, y: _method("cosh")(x),)),
    "cosh": (_method("cosh"), (lambda x, y: _method("sinh")(x),)),
    "asinh": (_method("asinh"), (lambda x, y: 1 / _square_root(x * x + 1),)),
    "acosh": (_method("acosh"), (lambda x, y: 1 / _square_root(x * x - 1),)),
    "atanh": (_method("atanh"), (lambda x, y: 1 / (1 - x * x),)),
    "sin": (_method("sin"), (lambda x, y: _method("cos")(x),)),
    "cos": (_method("cos"), (lambda x, y: -_method("sin")(x),)),
    "tan": (_method("tan"), (lambda x, y: 1 + y * y,)),
    "asin": (_method("asin"), (lambda x, y: 1 / _square_root(1 - x * x),)),
    "acos": (_method("acos"), (lambda x, y: -1 / _square_root(1 - x * x),)),
    "atan": (_method("atan"), (lambda x, y: 1 / (1 + x * x),)),
    "atan2": (
        lift(arb.atan2, 2),
        (lambda a, b, y: b / (a * a + b * b), lambda a, b, y: -a / (a * a + b * b)),
    ),
    "erf": (_method("erf"), (lambda x, y: 2 / arb.pi().sqrt() * _exp(-x * x),)),
    "erfc": (_method("erfc"), (lambda x, y: -2 / arb.pi().sqrt() * _exp(-x * x),)),
    "erf_inv": (_method("erfinv"), (lambda x, y: arb.pi().sqrt() / 2 * _exp(y * y),)),
    "lgamma": (lift(_lgamma), (lambda x, y: _method("digamma")(x),)),
    "digamma": (_method("digamma"), (lambda x, y: lift(lambda x: arb(2).zeta(x))(x),)),
}
