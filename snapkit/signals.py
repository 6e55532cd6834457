"""The signals that ask a run to end: who may send them, one list for all that take them."""

from __future__ import annotations

import signal


def _those(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))  # Windows lacks some


FROM_TERMINALS = _those("SIGINT", "SIGQUIT")
"""What a terminal sends, to all in its foreground, when a key is pressed."""

FROM_OTHERS = _those("SIGTERM", "SIGHUP")
"""What a scheduler sends, or the end of a session."""

ALL = (*FROM_TERMINALS, *FROM_OTHERS)
