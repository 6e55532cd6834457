"""Ctrl-C and its like: they end a run, but not the telling of what became of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from snapkit.errors import InterruptedRunError, SnapkitError, unexpected
from snapkit.processes import signals

_SOON = 0.01
"""Seconds until Python is out of the function that it has forgotten an interruption in."""
_SIGNALS = (signal.SIGINT, *signals.FROM_OTHERS)
"""SIGQUIT is left to do what it is for, which is to leave a core file, but where nothing is to end the run."""


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process without a word, as SIGTERM does: nothing is done yet, and nobody there to tell it."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or os.getpid() == 1:  # as nohup has it, and
        yield  # the first process of a container, which no signal ends by default
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_as_ctrl_c_does() -> None:
    """Let SIGTERM and SIGHUP end the run as Ctrl-C does: cancelled on the server, cleaned up, and told."""
    for number in _SIGNALS:
        if number is not signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _interrupt)


def come_again() -> None:
    """Let Ctrl-C come again where Python forgets it, with a traceback: in a finalizer, or in a callback of a weakref.

    https://docs.python.org/3/library/sys.html#sys.unraisablehook
    """
    before = sys.unraisablehook

    def again(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            before(lost)
            return
        is_to_come = False
        while not is_to_come:
            soon = threading.Timer(_SOON, os.kill, (os.getpid(), signal.SIGINT))  # here it would be forgotten once more
            soon.daemon = True
            with suppress(KeyboardInterrupt):  # on a busy machine it comes while the thread still starts
                soon.start()
                is_to_come = True

    sys.unraisablehook = again


def end_whatever_comes() -> None:
    """Take no notice of Ctrl-C any more: all is said, and Python tidies up."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def interrupted() -> InterruptedRunError:
    """Return the error for an interruption of which nobody further down could say more."""
    return InterruptedRunError("Interrupted.", state="See what there is: snapkit list")


def error_of(raised: BaseException) -> SnapkitError:
    """Return the error that stands for what was raised."""
    if isinstance(raised, SnapkitError):
        return raised
    return interrupted() if isinstance(raised, KeyboardInterrupt) else unexpected(raised)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let the next Ctrl-C not cut the block short: the run is over, and is to tell how it ended.

    Only the next one, so that a run whose output nobody takes can be stopped.
    """
    with _first_taken(lambda: None):
        yield


@contextmanager
def deferred(tell: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Hold the next Ctrl-C back until the block is done; ``tell`` is called at once. A second one comes through.

    The block gets what says whether one has come. An error that the block itself ends with goes before it.
    """
    came = False

    def note() -> None:
        nonlocal came
        came = True
        with suppress(RuntimeError):  # it may have come in the midst of a line that is being written
            tell()

    with _first_taken(note):
        yield lambda: came
    if came:
        raise KeyboardInterrupt


class HeldSignals:
    """Ctrl-C and its like, noted and not raised: what follows has to be done, whoever presses it how often.

    Where they may cut something short after all, ``raising`` says so.
    """

    def __init__(self) -> None:
        self.came: list[signal.Signals] = []
        self._raised_above: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold them for the length of the block."""
        with signals.taken(self._take):
            yield

    @contextmanager
    def raising(self, but_for: int = 0) -> Iterator[None]:
        """Let them raise KeyboardInterrupt in the block, but for the first few."""
        self._raised_above = len(self.came) + but_for
        try:
            yield
        finally:
            self._raised_above = None

    def heeding(self) -> Callable[[], None]:
        """Return what raises KeyboardInterrupt if one has come from now on: a wait is ended by the very first."""
        before = len(self.came)

        def heed() -> None:
            if len(self.came) > before:
                raise KeyboardInterrupt

        return heed

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.came.append(signal.Signals(number))
        if self._raised_above is not None and len(self.came) > self._raised_above:
            raise KeyboardInterrupt


@contextmanager
def _first_taken(by: Callable[[], None]) -> Iterator[None]:
    with signals.taken(lambda number, frame: by(), _SIGNALS, once=True):
        yield
