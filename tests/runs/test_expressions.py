"""What is written is read as Python reads it, and nothing of it is executed."""

import re
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from purenn.runs.expressions import ConfigError, arguments, called, evaluate, mentions

literals = st.recursive(
    st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
    | st.text(max_size=5),
    lambda child: st.lists(child, max_size=3).map(tuple),
    max_leaves=5,
)
NAMES: dict[str, Any] = {
    "f": lambda *args, **kwargs: ("f", args, kwargs),
    "three": 3,
    "steps": 100,
    "one": lambda x: x,
    "picky": lambda x: int("x"),
}


@given(st.lists(literals, max_size=3), st.dictionaries(st.sampled_from(["a", "b"]), literals))
def test_calls_and_literals(args: list[Any], kwargs: dict[str, Any]) -> None:
    inner = ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())])
    assert evaluate("key", f"f({inner})", NAMES) == ("f", tuple(args), kwargs)
    assert arguments("key", inner, NAMES) == (args, kwargs)


def test_names_and_arithmetic() -> None:
    assert evaluate("key", "f(one(three), x=[1, steps])", NAMES) == ("f", (3,), {"x": (1, 100)})
    assert evaluate("key", "-steps // 3 + 2.5 * (three - 1) / 4", NAMES) == -100 // 3 + 1.25
    assert evaluate("key", "f({steps: 0.5})", NAMES) == ("f", ({100: 0.5},), {})
    assert called("key", "f(1), three, a=one(2)") == ["f", "three", "one"]
    assert mentions("key", "f(1, one(steps), three=2)", "steps")
    assert not mentions("key", "f('steps', steps=1, a=warmup_steps)", "steps")
    assert evaluate("key", "f(\n  1,\n)", NAMES) == ("f", (1,), {})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "one.__globals__",
        "f(*three)",
        "f(**three)",
        "**three",
        "f(1), **{'a': 1}",
        "a=f(1), a=f(2)",
        "f(a=1, a=2)",
        "f({**three})",
        "{**{}}",
        "-f(1)",
        "-True",
        "-'a'",
        "lambda: 1",
        "[x for x in three]",
        "f'{three}'",
        "three if three else 1",
        "(three := 4)",
        "three ** 100000000",
        "'a' * 1000000000",
        "three[0]",
        "f()()",
        "three and 1",
        "1) + f(2",
        "f(1); f(2)",
        "f(1) f(2)",
        "1 / 0",
        "\x00",
        "(" * 1000 + ")" * 1000,
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^key: "):
        evaluate("key", text, NAMES)


@given(st.text())
def test_no_text_does_anything_else(text: str) -> None:
    try:
        arguments("key", text, NAMES)
    except ConfigError as error:
        message = str(error)
    else:
        message = "key: "
    assert message.startswith("key: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thre", "key: there is no thre; did you mean three?"),
        ("zzz", "key: there is no zzz; expected one of f, one, picky, steps, three"),
        ("three(1)", "key: three takes no arguments; write it without ()"),
        ("one()", "key: one(): "),
        ("picky(1)", "key: picky(1): invalid literal"),
        ("f(1", "key: 'f(1' cannot be read: '(' was never closed"),
        ("f(1), f(2)", "key: got 'f(1), f(2)', expected one of f, one"),
        ("", "key: got '', expected one of f, one"),
    ],
)
def test_the_message_leads_to_the_mistake(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        evaluate("key", text, NAMES)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="key: got 3, expected a text such as 'dense"):
        evaluate("key", 3, NAMES)  # type: ignore[arg-type]
