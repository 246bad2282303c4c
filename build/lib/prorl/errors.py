"""Errors that end a stage with one line. `prorl.config.section` has the one of settings."""


class DataError(ValueError):
    """Input data that break a rule.

    The message names file, row or column, what was found and what is allowed.
    """


class TrainingError(RuntimeError):
    """A training that can take no further step."""
