"""What ends a command with one line for a person."""


class UsageError(Exception):
    """The command cannot run; its message is for a person."""
