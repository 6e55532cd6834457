"""How long clients have been held, how much longer they may be, and the error if a statement fails meanwhile."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

from snapkit.core.checks.in_the_way import locked_by_others, sessions_busy, sessions_protected
from snapkit.core.durations import duration_text
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.errors import OutageLimitError, SnapkitError
from snapkit.postgres.connection.sqlstates import (
    LOCK_NOT_AVAILABLE,
    OBJECT_IN_USE,
    QUERY_CANCELED,
    is_late_update,
    is_sharing_refused,
    sqlstate_of,
    translate,
)
from snapkit.postgres.outage.door import DoorRecord
from snapkit.postgres.sql.ddl import quote_name


class Hold:
    """One time of holding clients under the user's ``rules``, from the PAUSE of a PgBouncer or the closing of the door.

    ``since`` is when it began, in seconds of the monotonic clock; None until ``begin``.
    """

    def __init__(self, rules: HoldRules, since: float | None = None) -> None:
        self.rules = rules
        self._since = since

    def begin(self) -> None:
        """Note that clients have to wait from now on; nothing changes if they do already."""
        if self._since is None:
            self._since = monotonic()

    @property
    def held(self) -> timedelta:
        """How long they have been held so far."""
        return timedelta(0) if self._since is None else timedelta(seconds=monotonic() - self._since)

    def left(self) -> timedelta | None:
        """Return how much longer they may be held; None if they are not held yet, or if there is no limit."""
        return None if self._since is None else self.rules.left(self.held)

    def rest(self) -> HoldRules:
        """Return the rules for the rest of the time."""
        return self.rules if self._since is None else self.rules.begun(self.held)


def door_error(
    error: Exception, record: DoorRecord, rules: HoldRules, *, held: timedelta, state: str, role: str
) -> SnapkitError:
    """Return the error for a statement that failed while clients were held; it names the sessions that were in its way.

    ``rules`` are the user's own; ``held`` is how long clients had been held in all.
    """
    code = sqlstate_of(error)
    disconnect = rules.disconnect
    if code == QUERY_CANCELED and rules.limit is not None and held >= rules.limit:
        return over_limit(rules.limit, held, state)
    remaining = list(record.remaining.values())
    protected = sessions_protected(remaining, state, quote_name(role))
    if code in (OBJECT_IN_USE, QUERY_CANCELED) and remaining and not disconnect:
        return sessions_busy(remaining, state)
    if code == OBJECT_IN_USE and protected is not None:
        return protected
    if code == LOCK_NOT_AVAILABLE or is_late_update(error):
        return locked_by_others(list(record.blockers.values()), state)
    translated = translate(error, state)
    if is_sharing_refused(error):
        return SnapkitError(translated.message, state=state, hint="Leave out --strategy: then the files are copied.")
    if code == OBJECT_IN_USE and record.problem is not None:
        why = translate(record.problem, state)
        translated.hint = f"The session that disconnects clients was lost: {why} Run the command again."
    return translated


def over_limit(limit: timedelta, held: timedelta, state: str) -> OutageLimitError:
    """Return the error for clients that were held as long as they may be."""
    return OutageLimitError(
        f"Given up: clients had been held for {duration_text(held)}, and --max-outage is {duration_text(limit)}.",
        state=state,
        hint="Allow more time, run it when fewer clients are busy, or make backups with: --strategy online",
        is_passing=True,
    )
