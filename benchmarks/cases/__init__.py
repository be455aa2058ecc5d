"""A file per kind of case. Each has ``CASES``: by name, what makes its rivals."""
