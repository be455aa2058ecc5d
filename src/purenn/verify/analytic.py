"""Whether a function can be differentiated by a complex step."""

import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

_NOT_ANALYTIC = {
    *("linalg", "cholesky", "eigh", "eigvalsh", "svd", "qr", "lstsq", "pinv", "norm"),
    *("conj", "conjugate", "vdot", "real", "imag", "abs", "absolute", "fabs", "hypot", "angle"),
}


def takes_conjugates(function: Callable[..., Any], depth: int = 3) -> bool:
    """Whether a function, or one that it calls, names what is not analytic in complex numbers.

    A Cholesky factor of complex numbers takes conjugates, and so its complex step may be wrong in
    digits that the differences do not tell.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or depth == 0:
        return False
    codes = [code]
    for one in codes:
        codes += [inner for inner in one.co_consts if isinstance(inner, CodeType)]
    names = {name for one in codes for name in one.co_names}
    known = getattr(inspect.unwrap(function), "__globals__", {})
    called = [known[name] for name in names if isinstance(known.get(name), FunctionType)]
    return bool(names & _NOT_ANALYTIC) or any(takes_conjugates(f, depth - 1) for f in called)
