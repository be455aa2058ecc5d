"""The examiner: is a hand-written derivative right, and how right?

``discover`` finds rules by name, ``examine`` and ``check`` draw inputs from their annotations and
compare value and cotangents with the exact derivative, with ``jax.vjp`` and with the jit-compiled
equivalent; ``check_gradient`` holds a whole model's gradient against its loss. It needs
``pip install purenn[verify]``.
"""

from purenn.verify.annotations import UnspecifiedError
from purenn.verify.examine import DTYPES, DerivativeError, check, devices, examine
from purenn.verify.gradient import GradientReport, check_gradient
from purenn.verify.rules import DiscoveryError, Rule, as_rule, discover
from purenn.verify.verdict import Check, Verdict

__all__ = [
    "DTYPES",
    "Check",
    "DerivativeError",
    "DiscoveryError",
    "GradientReport",
    "Rule",
    "UnspecifiedError",
    "Verdict",
    "as_rule",
    "check",
    "check_gradient",
    "devices",
    "discover",
    "examine",
]
