"""What enforces the annotations in the tests: beartype, where an int is a float too (PEP 484)."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_beartyped = beartype(conf=BeartypeConf(is_pep484_tower=True))
_known: dict[Any, Callable[..., Any]] = {}


def checked(stub: Callable[..., Any]) -> Callable[..., Any]:
    """A stub of jaxtyping's, which holds annotations and does nothing, with these enforced.

    Making what enforces them takes long. So that waits for the first call, and is done once: a
    pullback is a new function at each call of its rule, with the annotations that it had before.
    """
    names = stub.__module__, stub.__qualname__, stub.__code__
    key = *names, *stub.__annotations__.items()
    try:
        hash(key)
    except TypeError:
        return _beartyped(stub)

    def enforced(*args: Any, **kwargs: Any) -> Any:
        if key not in _known:
            _known[key] = _beartyped(stub)
        return _known[key](*args, **kwargs)

    return enforced
