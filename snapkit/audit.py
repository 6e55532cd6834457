"""The audit log's file: it is only ever appended to."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from snapkit.errors import SnapkitError

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
"""O_NONBLOCK, since the opening of a pipe that nobody reads would wait for ever."""

_NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP)
"""What fsync says of a terminal or a pipe."""


def check_audit_log(path: Path) -> None:
    """Raise SnapkitError unless the file can be opened for appending; one that is missing is made (mode 0600)."""
    try:
        os.close(_open(path))
    except OSError as error:
        raise SnapkitError(
            f"The audit log {str(path)!r} cannot be opened for appending: {error.strerror}.",
            state="Nothing was changed.",
            hint="A run that would be missing in it is not begun. Set it right, or set audit-log otherwise.",
        ) from None


def append_to_audit_log(path: Path, line: bytes) -> None:
    """Append a line, and have it on the disk; raise OSError.

    It goes by one write to a file opened with O_APPEND, so that the lines of several runs do not mix. The file is
    opened anew, since it may have been rotated while the run was at work.
    """
    file = _open(path)
    try:
        if os.write(file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            os.fsync(file)
        except OSError as error:
            if error.errno not in _NOT_SYNCED:
                raise
    finally:
        os.close(file)


def _open(path: Path) -> int:
    return os.open(path, _FLAGS, 0o600)
