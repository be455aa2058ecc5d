"""The schedules that optax lacks."""
