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
        if number is not signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)


def end_whatever_comes() -> None:
    """Take no notice of Ctrl-C any more: all is said, and Python tidies up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def interrupted() -> InterruptedRunError:
    """Return the error for an interruption of which nobody further down could say more."""
    return InterruptedRunError("Interrupted.", state="See what there is: snapkit list")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the next Ctrl-C not cut the block short: the run is over, and is to tell how it ended.

    Only the next one, so that a run whose output nobody takes can be stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore(*_: object) -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, restore)
    try:
        yield
    finally:
        restore()
