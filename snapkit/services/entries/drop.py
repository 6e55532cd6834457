"""Drop entries one after the other. If one drop fails, the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta

from snapkit.core import values
from snapkit.core.durations import duration_text
from snapkit.core.inventory.database import INVALID_CONNECTION_LIMIT
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import Kind, State
from snapkit.core.outcome import Outcome
from snapkit.core.plans.drop import statements_to_drop
from snapkit.core.server.replication import drop_subscription
from snapkit.errors import (
    BusyError,
    ConnectionFailedError,
    InterruptedRunError,
    PartialError,
    PrivilegeError,
    SnapkitError,
)
from snapkit.postgres.catalog import databases
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import (
    QUERY_CANCELED,
    SERVER_ERRORS,
    is_connection_loss,
    sqlstate_of,
    translate,
)
from snapkit.postgres.sql.drop import DROP_WAIT, Interrupted, Tell, Waiting, send_drop
from snapkit.services.entries.guard_lock import check_no_guard_lock, to_be_dropped
from snapkit.services.entries.passing_name import close, give_back, take
from snapkit.services.entries.seal import check_not_open, check_not_read, need_sealed
from snapkit.services.outage.emptying import empty_sealed
from snapkit.services.run.lineage import keep_heir
from snapkit.services.run.preconditions import check_empty_enough, check_rights

_MOST_NAMES = 10
"""So many are named one by one where a run ends before its time."""

Shielded = Callable[[], AbstractContextManager[Interrupted | None]]
"""Holds Ctrl-C back while a database is dropped: an interrupted DROP DATABASE leaves an invalid database behind, which
can only be dropped. The block gets what tells whether one has come.
https://www.postgresql.org/docs/current/sql-dropdatabase.html"""


@dataclass
class Drops:
    """What has been dropped so far, and what could not be; ``wanted`` is how many there are to drop, if that is known.

    ``shielded`` holds an interruption back, for a while, until the drop that is under way has ended; then
    KeyboardInterrupt is raised. Each drop may take ``wait``; ``tell`` is told what it waits for.
    """

    removed: list[Entry] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    wanted: int | None = None
    shielded: Shielded = nullcontext
    wait: timedelta = DROP_WAIT
    tell: Tell = lambda what: None
    _under_way: bool = False
    _cut_short: bool = False
    _rewritten: dict[int, Entry] = field(default_factory=dict)
    """Entries in which something was noted for one that was dropped, by OID, as they are since."""

    def drop(self, connection: Connection, entry: Entry) -> None:
        """Drop one entry; the lock of its source is held. A lost connection is raised."""
        try:
            with self.shielded() as interrupted:
                self._under_way = True
                entry = self._rewritten.get(entry.database.oid, entry)
                attempt = _Attempt(connection, entry, self.wait, self.tell, interrupted or (lambda: False))
                error = attempt.make()
                if attempt.heir is not None:
                    self._rewritten[attempt.heir.database.oid] = attempt.heir
                if error is None:
                    self.removed.append(entry)
                else:
                    self.failed.append(Failure(entry, error))
                self._cut_short = attempt.was_cut_short
                self._under_way = False
        except KeyboardInterrupt:
            if self._under_way or self._cut_short or self.left != 0:  # else it came too late to matter
                raise

    @property
    def left(self) -> int | None:
        """How many are still to be dropped; None where that is not known."""
        return None if self.wanted is None else max(0, self.wanted - len(self.removed) - len(self.failed))

    def raise_if_alone(self) -> None:
        """Raise the error of the only entry there was, if it could not be dropped."""
        if not self.removed and len(self.failed) == 1:
            raise self.failed[0].error

    @contextmanager
    def told(self) -> Iterator[None]:
        """If the block is ended early, say in the error what had been dropped by then."""
        try:
            yield
        except BusyError:  # its source was not begun with
            raise
        except SnapkitError as error:
            error.state = self._state
            raise
        except SERVER_ERRORS as error:
            raise translate(error, self._state) from error
        except KeyboardInterrupt:
            hint = "Run the same command again, and it goes on from there." if self.left or self._cut_short else None
            raise InterruptedRunError("Interrupted.", state=self._state, hint=hint) from None

    @property
    def _state(self) -> str:
        """What was dropped for certain. The drop that was under way may have gone through, too."""
        if len(self.removed) > _MOST_NAMES:
            surely = f"{len(self.removed)} databases, the last of them {self.removed[-1].name}"
        else:
            surely = ", ".join(entry.name for entry in self.removed) or "nothing"
        failed = "".join(f" {each.error.state}" for each in self.failed[:_MOST_NAMES] if each.error.state)
        left = f" Still to be dropped: {self.left}." if self.left else ""
        seen = "what was in progress" if self._under_way else "what there is"
        return f"Certainly dropped: {surely}.{failed}{left} To see {seen}: snapkit list"


def hindrance(connection: Connection, entry: Entry) -> SnapkitError | None:
    """Return the error that a drop would raise now; None if nothing is in its way."""
    try:
        check_rights(connection, entry.database, createdb=False)
        if entry.state not in (State.INVALID, State.INCOMPLETE):
            check_not_open(connection, entry)
            check_not_read(connection, entry)
            check_no_guard_lock(connection, entry)
            check_empty_enough(connection, [entry.database], disconnect=False)
            _check_no_subscription(connection, entry)
    except (BusyError, PrivilegeError) as error:
        error.state = f"{entry.name!r} would not be dropped."
        return error
    return None


def _check_no_subscription(connection: Connection, entry: Entry) -> None:
    """Raise BusyError if the entry has a subscription: even a disabled one makes DROP DATABASE fail."""
    found = replication_of(connection, [entry.database.oid]).subscriptions
    if found:
        raise BusyError(
            f"{entry.name!r} cannot be dropped because it has subscriptions: {', '.join(e.name for e in found)}.",
            hint="; ".join(map(drop_subscription, found)),
        )


@dataclass
class _Attempt:
    """One drop, from the last checks to its outcome."""

    connection: Connection
    entry: Entry
    wait: timedelta
    tell: Tell
    interrupted: Interrupted
    was_cut_short: bool = False
    """Whether it was ended because the run was told to end."""
    heir: Entry | None = None
    """Another entry, in which was noted what this one alone had told."""

    def make(self) -> SnapkitError | None:
        """Return the error if the entry was not dropped, else None. A lost connection is raised."""
        try:
            self._drop()
        except SERVER_ERRORS as error:
            if is_connection_loss(error):
                raise
            return translate(error, self._undropped)
        except ConnectionFailedError:
            raise
        except SnapkitError as error:
            if error.state is None or error.changed_nothing:
                error.state = self._undropped
            return error
        return None

    @property
    def _undropped(self) -> str:
        return f"{self.entry.name!r} was not dropped."

    def _drop(self) -> None:
        connection, entry = self.connection, self.entry
        check_rights(connection, entry.database, createdb=False)
        if databases.name_of(connection, entry.database.oid) != entry.name:
            raise BusyError(f"Somebody has renamed or dropped {entry.name!r}.")
        if entry.state in (State.INVALID, State.INCOMPLETE):
            self._send(entry)
            return
        _check_no_subscription(connection, entry)
        with to_be_dropped(connection, entry):
            sealed = need_sealed(connection, entry)
            self.heir = keep_heir(connection, entry.source, entry)
            self._send(sealed)

    def _send(self, entry: Entry) -> None:
        if entry.database.is_open_partial:
            entry = close(self.connection, entry)
            empty_sealed(self.connection, entry.database.oid, entry.name, self._undropped)
        taken, waiting = take(self.connection, entry), Waiting()
        try:
            send_drop(
                self.connection,
                statements_to_drop(taken.database),
                self.wait,
                tell=self.tell,
                interrupted=self.interrupted,
                waiting=waiting,
            )
        except SERVER_ERRORS as error:
            if is_connection_loss(error):
                raise
            self._judge(entry, taken, waiting, error)

    def _judge(self, entry: Entry, taken: Entry, waiting: Waiting, error: Exception) -> None:
        """Ask the server whether the drop went through after all; if not, raise, and say how the database is now."""
        found = databases.connection_limit_of(self.connection, taken.database.oid)
        if found is None:
            return
        self.was_cut_short = self.interrupted()
        state = self._undropped
        if found == INVALID_CONNECTION_LIMIT:
            state += (
                f" It is invalid now, and its name is {taken.name!r}. The next command that changes something drops it."
            )
        elif entry.kind is Kind.PARTIAL or entry.state is State.INVALID:
            state += " The next command that changes something drops it."
        else:
            state += self._given_back(entry, taken)
        if sqlstate_of(error) != QUERY_CANCELED:
            raise translate(error, state) from error
        raise self._took_too_long(waiting, state) from error

    def _given_back(self, entry: Entry, taken: Entry) -> str:
        """Give the entry its name back; return what to tell if that fails."""
        try:
            give_back(self.connection, entry, taken)
        except (SnapkitError, *SERVER_ERRORS) as error:
            if is_connection_loss(error):
                raise
            return f" Its name is {taken.name!r} now. The next command that changes something drops it."
        return ""

    def _took_too_long(self, waiting: Waiting, state: str) -> BusyError:
        ended = "when the run was interrupted" if self.was_cut_short else f"within {duration_text(self.wait)}"
        why = f" PostgreSQL waited for {waiting.what}." if waiting.what else ""
        return BusyError(
            f"{self.entry.name!r} could not be dropped {ended}.{why}",
            state=state,
            hint="Continue or end what PostgreSQL waits for; then run: snapkit recover. To wait longer: "
            "--drop-wait 10m",
        )


@values.dataclass(frozen=True, slots=True)
class Failure:
    """An entry that could not be dropped."""

    entry: Entry
    error: SnapkitError


def each_error_once(failures: Iterable[Failure], fate: str = "were not dropped") -> tuple[SnapkitError, ...]:
    """Return the errors of the failures. Those with the same reason become one error, whose state names all entries.

    ``fate`` is what became of those, or what would.
    """
    same: dict[tuple[type[SnapkitError], str, str | None], list[Failure]] = {}
    for failure in failures:
        error = failure.error
        same.setdefault((type(error), error.message, error.hint), []).append(failure)
    return tuple(
        group[0].error
        if len(group) == 1
        else kind(
            message,
            state=f"{len(group)} {fate} for this reason: {', '.join(each.entry.name for each in group)}.",
            hint=hint,
        )
        for (kind, message, hint), group in same.items()
    )


class DropOutcome(Outcome):
    """The result of a run that dropped what it could: ``removed``, and what it could not: ``failed``."""

    __slots__ = ()

    removed: tuple[Entry, ...]
    failed: tuple[Failure, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.removed)

    @property
    def shortfall(self) -> SnapkitError | None:
        if not self.failed:
            return None
        return PartialError(
            f"{len(self.failed)} of {len(self.failed) + len(self.removed)} could not be dropped.",
            hint="See the error of each entry in data.failed.",
        )

    @property
    def complaints(self) -> tuple[SnapkitError, ...]:
        return each_error_once(self.failed)
