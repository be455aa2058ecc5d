"""The rules in JAX, module by module as in ``purenn.ops``."""
