"""Activation functions in JAX: ``jax.nn``'s own, whose derivatives autodiff finds.

Constants are built from integers inside the traced function, so that an evaluation of the trace
in higher precision has them in that precision too.
"""
