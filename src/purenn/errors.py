"""What is refused at the door: one exception type per kind of mistake.

Each message names the argument, what came and what was expected.
"""


class ShapeError(ValueError):
    """An array has the wrong rank or size, or two arrays disagree about a dimension."""


class DtypeError(TypeError):
    """An argument is no array, or an array of the wrong dtype."""


class DomainError(ValueError):
    """A value lies outside the domain that the function is defined on."""


class TreeError(ValueError):
    """Two trees, or a tree and a model, do not have the same structure."""


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or does not fit what it is loaded into."""


class DataError(ValueError):
    """A file does not hold what it should; the message names the file and the field."""
