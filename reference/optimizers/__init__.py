"""Variants that optax has not: the papers' and the libraries' equations, with optax's contract."""
