"""Who runs snapkit, and on which machine."""

from __future__ import annotations

import os
from contextlib import suppress


def process_user() -> str:
    """Return the name of the user that the process runs as, or the number of one without a name.

    The environment has no say in it.
    """
    try:
        import pwd
    except ImportError:  # Windows
        return login_name() or "unknown"
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def login_name() -> str | None:
    """Return the name that somebody has logged in with, by LOGNAME and the like or else by the process.

    None where there is none: a container's user need not have a name.
    """
    import getpass

    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return None


def host_name() -> str | None:
    """Return the machine's name; None if it has none."""
    import socket

    with suppress(OSError):
        return socket.gethostname()
    return None
