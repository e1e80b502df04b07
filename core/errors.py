"""Errors that a user can cause, each told in one line."""


class UserError(ValueError):
    """A mistake in what the user gave: a file, an option, a config.

    The message names the file or option, what is wrong and what to do about it. Commands print it as one line and
    exit with code 2; the Python functions raise it.
    """
