"""Whatever ends a run, as an error that can be told."""

from __future__ import annotations

from snapkit.cli.interruption import interrupted
from snapkit.errors import SnapkitError


def error_of(raised: BaseException) -> SnapkitError:
    """Return the error that stands for what was raised."""
    if isinstance(raised, SnapkitError):
        return raised
    return interrupted() if isinstance(raised, KeyboardInterrupt) else unexpected(raised)


def unexpected(raised: BaseException) -> SnapkitError:
    """Return the error for what should not have happened."""
    wrapped = SnapkitError(
        f"Something unexpected happened: {type(raised).__name__}: {raised}",
        state="What was done so far is shown by: snapkit list",
        hint="Please report this; with --verbose the traceback is shown.",
    )
    wrapped.__cause__ = raised
    return wrapped
