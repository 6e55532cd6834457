"""Whatever ends a run, as an error that can be told."""

from __future__ import annotations

from snapkit.cli.ctrl_c import interrupted
from snapkit.errors import SnapkitError, unexpected


def error_of(raised: BaseException) -> SnapkitError:
    """Return the error that stands for what was raised."""
    if isinstance(raised, SnapkitError):
        return raised
    return interrupted() if isinstance(raised, KeyboardInterrupt) else unexpected(raised)
