"""Ctrl-C and its like: they end a run, but not the telling of what became of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from snapkit.errors import InterruptedRunError

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Windows has no SIGHUP


def end_as_ctrl_c_does() -> None:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does: cancelled on the server, cleaned up, and told."""
    for number in _SIGNALS:
        if number is not signal.SIGINT:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def interrupted() -> InterruptedRunError:
    """Return the error for an interruption of which nobody further down could say more."""
    return InterruptedRunError("Interrupted.", state="See what there is: snapkit list")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let nothing cut the block short: the run is over, and one who presses Ctrl-C again wants to know how it ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
