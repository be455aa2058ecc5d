"""Normalizations in JAX, term by term as their definitions read."""
