"""Errors that end a stage with one line. `prorl.config.section` has the one of settings."""

from prorl.config.section import one_line


class DataError(ValueError):
    """Input data that break a rule.

    The message names file, row or column, what was found and what is allowed; it is `one_line`.
    """

    def __init__(self, message: object = ""):
        super().__init__(one_line(message))


class TrainingError(RuntimeError):
    """A training that can take no further step. The message is `one_line`."""

    def __init__(self, message: object = ""):
        super().__init__(one_line(message))
