"""See to it that the clients of a PgBouncer are served once it has been told to let them on.

A PAUSE closes connections to the server that are being made, also those for a pool's first client, and PgBouncer takes
that for a failed login: after the RESUME it waits for server_login_retry (15 s) before it logs in again, and refuses
queries until then. Without that setting it logs in at once, which is all that can be done; so it is set to 0 for the
moment that takes. https://www.pgbouncer.org/config.html#server_login_retry

The watchdog imports this too: of other packages it needs psycopg only.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from snapkit.core.outage.pooled_databases import logins_put_off, logins_under_way, not_served, seconds_of
from snapkit.core.values import dataclass
from snapkit.postgres.outage.pgbouncer_console import Console
from snapkit.processes.deadline import Deadline

SETTING = "server_login_retry"

_LOOK_AGAIN = 0.005


@dataclass(frozen=True, slots=True)
class Service:
    """How it went: whether clients are served ``again``, and whether logins had been ``put_off``."""

    again: bool
    put_off: bool


def retry_of(console: Console) -> str | None:
    """Return how many seconds PgBouncer waits after a failed login, as it says it; None if it does not. May raise
    ConsoleError."""
    rows = console.ask("SHOW CONFIG")
    value = next((row.get("value") for row in rows if row.get("key") == SETTING), None)
    return value if seconds_of(value) is not None else None


def set_retry(console: Console, value: str) -> None:
    """Give the setting a value that ``retry_of`` has returned; raises ConsoleError."""
    console.ask(f"SET {SETTING} = {value}")


def await_service(console: Console, names: Collection[str], deadline: Deadline) -> Service:
    """Wait until nobody waits in a pool of ``names`` that has no connection to the server; have it log in at once.

    Not beyond ``deadline``. Raises ConsoleError; the setting may not be what it was then.
    """
    before: str | None = None
    put_off = False
    try:
        while not_served(rows := console.ask("SHOW POOLS"), names):
            if before is not None:  # what it logs in for now, it had put off
                put_off |= logins_under_way(rows, names)
            elif logins_put_off(rows, names) and seconds_of(before := retry_of(console)):
                set_retry(console, "0")
                continue
            if deadline.is_over:
                return Service(again=False, put_off=put_off)
            time.sleep(_LOOK_AGAIN)
        return Service(again=True, put_off=put_off or bool(seconds_of(before)))
    finally:
        if seconds_of(before):
            set_retry(console, str(before))


def put_back(console: Console, value: str | None) -> None:
    """Undo what a run has done that died in ``await_service``; raises ConsoleError."""
    if seconds_of(value) and seconds_of(retry_of(console)) == 0:
        set_retry(console, str(value))
