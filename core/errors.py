"""Errors that a user or the machine can cause, each told in one line."""

import errno
import os
from pathlib import Path

LEAST_ROOM = 1 << 20  # bytes on a disk that is not full
FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(ValueError):
    """A mistake in what the user gave: a file, an option, a config.

    The message names the file or option, what is wrong and what to do about it. Commands print it as one line and
    exit with its code; the Python functions raise it.
    """

    exit_code = 2


class FailedInputs(UserError):  # noqa: N818 (what is told, not what went wrong)
    """Some inputs of a run could not be used; the others are done."""

    exit_code = 1


def machine_fault(error: BaseException | None) -> str | None:
    """Say what is wrong with the machine (a full disk, a file that may not be written), or None for any other error."""
    while error is not None:
        number = getattr(error, "errno", None)
        file = getattr(error, "filename", None)
        if number in FULL or "No space left on device" in str(error):
            return f"the disk is full{f': {file}' if file else ''}; make room, then give the same command again"
        if number in (errno.EACCES, errno.EPERM, errno.EROFS) and file:
            return f"{file}: {os.strerror(number).lower()}; choose another place or change its permissions"
        error = error.__cause__ or error.__context__
    return None


def is_disk_full(error: Exception) -> bool:
    """Tell whether an error says that there is no room for what is written."""
    return isinstance(error, OSError) and error.errno in FULL


def unwritten(path: Path, reason: object) -> OSError:
    """Return the error of a file that a library could not write, which may not tell that the disk is full."""
    status = os.statvfs(path.parent)
    is_full = "No space" in str(reason) or status.f_bavail * status.f_frsize < LEAST_ROOM
    number = errno.ENOSPC if is_full else errno.EIO
    return OSError(number, f"{os.strerror(number)} ({reason})", str(path))
