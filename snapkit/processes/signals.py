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


@contextmanager
def held_back() -> Iterator[Callable[[], None]]:
    """Hold back what a signal's handler raises, for moments, so that nothing comes between a start and what ends it.

    Yields the function that lets it come: to be called once that is there, or else it is at the end of the block.
    """
    if threading.current_thread() is not threading.main_thread():  # which is the only one that signals are for
        yield lambda: None
        return
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
            for number, handler in before.items():
                signal.signal(number, handler)
            _deliver(came)

    try:
        for number in before:
            signal.signal(number, note)
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
