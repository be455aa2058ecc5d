"""The examiner: is a hand-written derivative right, and how right?

``discover`` finds rules by name, ``examine`` and ``check`` draw inputs from their annotations and
compare value and cotangents with the exact derivative, with ``jax.vjp`` and with the jit-compiled
equivalent. It needs ``pip install purenn[verify]``.
"""

from purenn.verify.examine import DTYPES, DerivativeError, Finding, check, devices, examine
from purenn.verify.rules import DiscoveryError, Rule, discover

__all__ = [
    "DTYPES",
    "DerivativeError",
    "DiscoveryError",
    "Finding",
    "Rule",
    "check",
    "devices",
    "discover",
    "examine",
]
