"""Look into an entry: while a command runs, the entry is open to its owner, read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import field, replace
from datetime import timedelta
from typing import ClassVar

from snapkit.core.inventory.entry import Entry
from snapkit.core.outcome import Outcome
from snapkit.core.reporting import Caution, Observe, unobserved
from snapkit.core.secrets import ShownCommand
from snapkit.core.server.replication import at_work_while_open
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED
from snapkit.postgres.catalog.replication import replication_of
from snapkit.postgres.connection.libpq_environment import environment_for
from snapkit.postgres.connection.server import Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.copying.programs import find_psql
from snapkit.postgres.sql.entry_locks import stay_idle, take_entry
from snapkit.services.entries.opening import (
    OpenedByUs,
    check_openable,
    noted_before_opening,
    open_entry,
    opened_by_us,
    seal_again,
)
from snapkit.services.entries.seal import check_not_read, need_sealed, open_elsewhere, sealed_caution
from snapkit.services.run.interruption import interruptions
from snapkit.services.run.preconditions import check_rights
from snapkit.services.run.source_lock import locked
from snapkit.services.run.survey import chosen, gather


@dataclass(frozen=True, slots=True)
class ShellRequest:
    """Which entry is to be opened, and for which command, with its program found; None is psql.

    ``wanted`` None is the newest ready backup.

    ``url`` is what the user gave for the source, if it was a URL; ``own`` the URLs in the variables that programs read.
    """

    wanted: str | None
    command: tuple[str, ...] | None = None
    url: str | None = field(default=None, repr=False)  # it may hold a password
    own: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An entry that is open: the entry as it is when sealed, the command, and the variables by which it connects."""

    entry: Entry
    command: tuple[str, ...]
    environment: Mapping[str, str | None] = field(repr=False)
    cautions: tuple[Caution, ...]
    sealed: list[Entry] = field(default_factory=list, hash=False)
    """Once it is over: the entry as it is then, unless it is gone."""
    afterwards: list[Caution] = field(default_factory=list, hash=False)
    """Once it is over: what is to be said of the sealing."""


@contextmanager
def opened_entry(
    server: Server,
    request: ShellRequest,
    lock_wait: timedelta,
    observe: Observe = unobserved,
    shielded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[OpenEntry]:
    """Open an entry, read-only and to its owner alone; seal it when the block ends, however it ends.

    If snapkit is killed, the next run that changes something seals it. psql is looked for before anything is changed.
    The sealing runs under ``shielded``, which holds Ctrl-C back. Raises BusyError if the entry is open already. If it
    could not be sealed, the error says how things stand.
    """
    with server.connect() as keeper:
        ours: OpenedByUs | None = None
        sealed: list[Entry] = []
        afterwards: list[Caution] = []
        try:
            with (
                interruptions(NOTHING_CHANGED) as standing,
                locked(server, lock_wait, observe) as connection,
                server_errors(NOTHING_CHANGED),
            ):
                gathered = gather(connection, server.source)
                closed = chosen(gathered, server.source, request.wanted)
                check_openable(closed)
                check_rights(connection, closed.database, createdb=False)
                command = request.command or (find_psql(gathered.facts.version),)
                check_not_read(connection, closed)
                entry = need_sealed(connection, closed)
                stay_idle(keeper)
                if not take_entry(keeper, entry.database.oid):
                    raise open_elsewhere(entry)
                replication = replication_of(connection, [entry.database.oid])
                ours = opened_by_us(entry, noted_before_opening(connection, entry))
                untold = open_entry(server, connection, entry, ours.document, standing=standing, observe=observe)
                ours = replace(ours, was_open=True)
            cautions = ((sealed_caution(entry),) if closed.opened else ()) + at_work_while_open(replication) + untold
            leading = environment_for(keeper, entry.name, request.url, request.own)
            opened = OpenEntry(entry, command, leading, cautions, sealed, afterwards)
            yield opened
        finally:
            if ours is not None:
                with shielded():
                    found, said = seal_again(server, keeper, ours)
                    sealed += found
                    afterwards += said


@dataclass(frozen=True, slots=True)
class ShellReceipt(Outcome):
    """An entry that was looked into, and is sealed again; ``exit_code`` is the command's own."""

    entry: Entry
    command: ShownCommand
    exit_code: int
    cautions: tuple[Caution, ...] = ()
    tells_where: ClassVar[bool] = False

    @property
    def leaves_stdout(self) -> bool:
        return True

    @property
    def changed(self) -> tuple[str, ...]:
        return (self.entry.name,)

    @property
    def ran(self) -> tuple[ShownCommand, int | None]:
        return self.command, self.exit_code
