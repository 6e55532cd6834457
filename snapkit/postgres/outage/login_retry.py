"""Make sure that the clients of a PgBouncer are served after RESUME.

A PAUSE closes connections to the server that are just being made. PgBouncer takes that for a failed login. After the
RESUME it waits for server_login_retry (15 s) before it logs in again, and refuses queries until then. With the setting
at 0 it logs in at once. So it is set to 0 for that moment. https://www.pgbouncer.org/config.html#server_login_retry

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
    """The result: whether clients are served ``again``, and whether logins had been ``put_off``."""

    again: bool
    put_off: bool


def retry_of(console: Console) -> str | None:
    """Return server_login_retry as PgBouncer shows it; None if it does not. Raises ConsoleError."""
    rows = console.ask("SHOW CONFIG")
    value = next((row.get("value") for row in rows if row.get("key") == SETTING), None)
    return value if seconds_of(value) is not None else None


def set_retry(console: Console, value: str) -> None:
    """Give the setting a value that ``retry_of`` has returned; raises ConsoleError."""
    console.ask(f"SET {SETTING} = {value}")


def await_service(console: Console, names: Collection[str], deadline: Deadline) -> Service:
    """Make PgBouncer log in at once, and wait until no client of ``names`` waits in a pool without a server connection.

    Waits until ``deadline`` at most. Raises ConsoleError: the setting may not have its old value then.
    """
    before: str | None = None
    put_off = False
    try:
        while not_served(rows := console.ask("SHOW POOLS"), names):
            if before is not None:  # these logins had been put off
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
    """Give the setting its value back after a run has died in ``await_service``. Raises ConsoleError."""
    if seconds_of(value) and seconds_of(retry_of(console)) == 0:
        set_retry(console, str(value))
