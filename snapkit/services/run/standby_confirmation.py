"""Tell that a COMMIT waits for a synchronous standby, and warn if none has confirmed it.

https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from time import monotonic

from snapkit.core.reporting import Caution, Observe, Progress


def telling(observe: Observe, what: str) -> Callable[[], None]:
    """Return a function to call while the COMMIT of ``what`` waits; it tells that, and for how long."""
    began: float | None = None

    def tell() -> None:
        nonlocal began
        began = began or monotonic()
        waited = timedelta(seconds=monotonic() - began)
        observe(Progress(f"Waiting for a synchronous standby to confirm {what}", waited, waits=True))

    return tell


def unconfirmed(what: str, said: Iterable[str]) -> tuple[Caution, ...]:
    """Warn that no synchronous standby may have ``what``, for each reason in ``said``.

    PostgreSQL itself only warns that it no longer waits for one.
    """
    return tuple(
        Caution(
            "not_replicated",
            f"{what[0].upper()}{what[1:]} is committed on this server, but no synchronous standby has confirmed "
            f"it. {reason} If a standby takes this server's place without having received it, it is lost there.",
        )
        for reason in said
    )


def is_confirmed(cautions: Iterable[Caution]) -> bool:
    """Return whether a synchronous standby, if the server has one, has confirmed all of a run, by its warnings."""
    return all(caution.code != "not_replicated" for caution in cautions)
