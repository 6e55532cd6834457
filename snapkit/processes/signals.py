"""The signals that ask a run to end, and how their handlers are replaced and given back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


def _those(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))  # Windows lacks some


FROM_TERMINALS = _those("SIGINT", "SIGQUIT")
"""Sent by a terminal to its whole foreground process group when a key is pressed."""

FROM_OTHERS = _those("SIGTERM", "SIGHUP")
"""What a scheduler sends, or the end of a session."""

ALL = (*FROM_TERMINALS, *FROM_OTHERS)


Take = Callable[[int, FrameType | None], None]


def in_main_thread() -> bool:
    """Whether this is the main thread: only there can handlers be set, and only there do they run."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def taken(take: Take, numbers: Sequence[signal.Signals] = ALL, *, once: bool = False) -> Iterator[Callable[[], None]]:
    """Let ``take`` handle these signals in the block; with ``once``, only the first of them.

    Yields a function that gives the former handlers back before the end of the block. Ignored signals stay ignored
    (nohup). In other threads than the main one this does nothing.
    """
    if not in_main_thread():
        yield lambda: None
        return
    before = {each: handler for each in numbers if (handler := signal.getsignal(each)) not in (None, signal.SIG_IGN)}

    is_given_back = False

    def give_back() -> None:
        nonlocal is_given_back
        if is_given_back:  # a handler that has run since may have given back what was there before it
            return
        for number, handler in before.items():
            signal.signal(number, handler)
        is_given_back = True

    def take_one(number: int, frame: FrameType | None) -> None:
        if once:
            give_back()
        take(number, frame)

    try:
        for number in before:
            signal.signal(number, take_one)
        yield give_back
    finally:
        give_back()


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Delay signals for moments, so that none comes between the start of something and the code that ends it.

    Yields a function that delivers the delayed signals. Call it once that code is in place; otherwise they are
    delivered at the end of the block.
    """
    before = {number: handler for number in ALL if callable(handler := signal.getsignal(number))}
    came: list[int] = []
    is_held = True

    def note(number: int, frame: FrameType | None) -> None:
        if is_held:
            came.append(number)
        else:  # it comes while handlers are put back
            before[signal.Signals(number)](number, frame)

    def let_come() -> None:
        nonlocal is_held
        if is_held:
            is_held = False
            give_back()
            _deliver(came)

    with taken(note, tuple(before)) as give_back:
        try:
            yield let_come
        finally:
            let_come()


def _deliver(numbers: Sequence[int]) -> None:
    """Deliver each signal, even if a handler raises; the exception goes on afterwards."""
    raised: KeyboardInterrupt | None = None
    for each in numbers:
        try:
            signal.raise_signal(each)
        except KeyboardInterrupt as error:
            raised = error
    if raised is not None:
        raise raised
