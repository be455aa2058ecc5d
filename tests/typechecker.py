"""What enforces the annotations in the tests: beartype, where an int is a float too (PEP 484)."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_beartyped = beartype(conf=BeartypeConf(is_pep484_tower=True))
_known: dict[Any, Callable[..., Any]] = {}


def checked(stub: Callable[..., Any]) -> Callable[..., Any]:
    """A stub of jaxtyping's, which holds annotations and does nothing, with these enforced.

    A pullback is a new function at each call, with the annotations that it had before: what
    enforces them is made once.
    """
    names = stub.__module__, stub.__qualname__, stub.__code__
    key = *names, *stub.__annotations__.items()
    try:
        if key not in _known:
            _known[key] = _beartyped(stub)
    except TypeError:  # an annotation that cannot be hashed
        return _beartyped(stub)
    return _known[key]
