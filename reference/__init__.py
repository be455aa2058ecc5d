"""The library told again in JAX: forward functions only, whose derivatives autodiff finds."""
