"""Models, optimizers and the like, as they are written in a configuration.

``dense(128), relu, dense(10)`` is read as Python reads it, but nothing is executed: names stand for
what a table of names says, calls are calls of these, and all else is a literal or arithmetic.
"""

import ast
import difflib
import operator
from collections.abc import Mapping
from typing import Any


class ConfigError(ValueError):
    """Something in a configuration cannot be used; the message begins with its key."""


_OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def evaluate(key: str, text: str, names: Mapping[str, Any]) -> Any:
    """The value of one expression.

    Raises:
        ConfigError: it cannot be read, or what it calls refuses its arguments.
    """
    values, named = arguments(key, text, names)
    if len(values) != 1 or named:
        raise ConfigError(f"{key}: got {text!r}, expected one of {told(names)}")
    return values[0]


def arguments(key: str, text: str, names: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The values of a list of expressions, as of the arguments of a call.

    Raises:
        ConfigError: it cannot be read, or what it calls refuses its arguments.
    """
    call = _parsed(key, text)
    return [_value(key, node, names) for node in call.args], _named(key, call, names)


def called(key: str, text: str) -> list[str]:
    """The name that each argument begins with, or its value where it has a keyword."""
    call = _parsed(key, text)
    return [_name(key, node) for node in (*call.args, *(each.value for each in call.keywords))]


def mentions(key: str, text: str, name: str) -> bool:
    """Whether a name stands for something in a list of expressions."""
    nodes = ast.walk(_parsed(key, text))
    return any(isinstance(node, ast.Name) and node.id == name for node in nodes)


def find(key: str, name: str, names: Mapping[str, Any]) -> Any:
    """What a name stands for.

    Raises:
        ConfigError: nothing; the message has the names that are like it, or all.
    """
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {told(names)}"
    raise ConfigError(f"{key}: there is no {name}; {hint}")


def told(names: Mapping[str, Any]) -> str:
    """All names, for a message."""
    return ", ".join(sorted(names))


def _parsed(key: str, text: str) -> ast.Call:
    if not isinstance(text, str):
        raise ConfigError(f"{key}: got {text!r}, expected a text such as 'dense(10)'")
    try:
        tree = ast.parse(f"_({text}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", None) or type(error).__name__
        raise ConfigError(f"{key}: {text!r} cannot be read: {why}") from None
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.func.id != "_":
        raise ConfigError(f"{key}: {text!r} cannot be read: unbalanced parentheses")
    return tree


def _name(key: str, node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        node = node.func
    if not isinstance(node, ast.Name):
        raise ConfigError(f"{key}: got {ast.unparse(node)}, expected a name or a call")
    return node.id


def _value(key: str, node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Tuple() | ast.List():
            return tuple(_value(key, each, names) for each in node.elts)
        case ast.Dict() if None not in node.keys:
            return {
                _value(key, k, names): _value(key, v, names)
                for k, v in zip(node.keys, node.values, strict=True)
                if k is not None
            }
        case ast.UnaryOp(op=ast.USub()):
            value = _value(key, node.operand, names)
            if type(value) not in (int, float):
                raise ConfigError(f"{key}: {ast.unparse(node)} is no arithmetic of numbers")
            return -value
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = (_value(key, side, names) for side in (node.left, node.right))
            if not all(type(side) in (int, float) for side in (left, right)):
                raise ConfigError(f"{key}: {ast.unparse(node)} is no arithmetic of numbers")
            try:
                return _OPERATORS[type(node.op)](left, right)
            except ArithmeticError as error:
                raise ConfigError(f"{key}: {ast.unparse(node)}: {error}") from None
        case ast.Name():
            return find(key, node.id, names)
        case ast.Call():
            return _call(key, node, names)
    raise ConfigError(f"{key}: {ast.unparse(node)} is no literal, name or call")


def _call(key: str, node: ast.Call, names: Mapping[str, Any]) -> Any:
    function = find(key, _name(key, node), names)
    if not callable(function):
        raise ConfigError(f"{key}: {_name(key, node)} takes no arguments; write it without ()")
    values = _named(key, node, names)
    positional = [_value(key, each, names) for each in node.args]
    try:
        return function(*positional, **values)
    except ConfigError:
        raise
    except (ValueError, TypeError, ArithmeticError) as error:
        told = str(error)
        where = "" if told.startswith(_name(key, node)) else f"{ast.unparse(node)}: "
        raise ConfigError(f"{key}: {where}{told}") from None


def _named(key: str, call: ast.Call, names: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in values:
            what = "is given twice" if keyword.arg else "has **, expected names"
            raise ConfigError(f"{key}: {keyword.arg or ast.unparse(call)} {what}")
        values[keyword.arg] = _value(key, keyword.value, names)
    return values
