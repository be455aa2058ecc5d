"""The rules: ``f`` and, beside it, ``f_vjp`` with the contract of ``jax.vjp``."""

from purenn.ops import activations, dropout, linear, losses, positions

__all__ = ["activations", "dropout", "linear", "losses", "positions"]
