"""Errors that a user can cause, each told in one line."""


class UserError(ValueError):
    """A mistake in what the user gave: a file, an option, a config.

    The message names the file or option, what is wrong and what to do about it. Commands print it as one line and
    exit with its code; the Python functions raise it.
    """

    exit_code = 2


class FailedInputs(UserError):  # noqa: N818 (what is told, not what went wrong)
    """Some inputs of a run could not be used; the others are done."""

    exit_code = 1
