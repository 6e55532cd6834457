"""The signals that ask a run to end: who may send them, one list for all that take them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType


def _those(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))  # Windows lacks some


FROM_TERMINALS = _those("SIGINT", "SIGQUIT")
"""What a terminal sends, to all in its foreground, when a key is pressed."""

FROM_OTHERS = _those("SIGTERM", "SIGHUP")
"""What a scheduler sends, or the end of a session."""

ALL = (*FROM_TERMINALS, *FROM_OTHERS)


Take = Callable[[int, FrameType | None], None]


def in_main_thread() -> bool:
    """Whether this is the one thread that signals are for, and that can set their handlers."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def taken(take: Take, numbers: Sequence[signal.Signals] = ALL, *, once: bool = False) -> Iterator[Callable[[], None]]:
    """Let ``take`` have these signals for the length of the block, or ``once``, and then none of them.

    Yields what gives the former handlers back before the end of the block. What is ignored, as nohup has it, stays so.
    In a thread that is not the main one nothing is done.
    """
    if not in_main_thread():
        yield lambda: None
        return
    before = {each: handler for each in numbers if (handler := signal.getsignal(each)) not in (None, signal.SIG_IGN)}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

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
    """Hold back what a signal's handler raises, for moments, so that nothing comes between a start and what ends it.

    Yields the function that lets it come: to be called once that is there, or else it is at the end of the block.
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
    """Have each taken notice of, also where one raises; that goes on when all have been."""
    raised: KeyboardInterrupt | None = None
    for each in numbers:
        try:
            signal.raise_signal(each)
        except KeyboardInterrupt as error:
            raised = error
    if raised is not None:
        raise raised
