"""Seal or drop what interrupted runs have left: the next run that changes something does that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from time import monotonic

from snapkit.core.inventory.kinds import Kind
from snapkit.core.inventory.recognition import Inventory, take_inventory
from snapkit.core.inventory.selection import is_leftover
from snapkit.core.plans.clone import ClonePlan
from snapkit.core.plans.drop import statements_to_drop
from snapkit.core.reporting import Caution, Observe, Progress, unobserved
from snapkit.errors import NOTHING_CHANGED, BusyError, SnapkitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.sql.drop import IN_PASSING, send_drop
from snapkit.postgres.sql.locks import others_at_work
from snapkit.services.entries.drop import Drops
from snapkit.services.entries.passing_name import close, take
from snapkit.services.entries.seal import seal_what_was_left, sealed_caution
from snapkit.services.outage.emptying import empty_sealed
from snapkit.services.run.source_lock import locked
from snapkit.services.run.survey import gather


def drop_leftovers(
    connection: Connection,
    inventory: Inventory,
    source: str,
    drops: Drops,
    *,
    observe: Observe = unobserved,
    within: timedelta = timedelta.max,
) -> int:
    """Drop what interrupted runs have left, until ``within`` is over; return how many were not tried."""
    began = monotonic()
    left = [entry for entry in inventory.of_source(source) if is_leftover(entry)]
    for number, entry in enumerate(left):
        if monotonic() - began > within.total_seconds():
            return len(left) - number
        phase = f"Dropping {entry.name}"
        observe(Progress(phase, timedelta(seconds=monotonic() - began)))

        def tell(what: str, phase: str = phase) -> None:
            elapsed = timedelta(seconds=monotonic() - began)
            observe(Progress(f"{phase}; it waits for {what}", elapsed, waits=True))

        drops.tell = tell
        drops.drop(connection, entry)
    return 0


def sweep(connection: Connection, inventory: Inventory, source: str) -> tuple[Caution, ...]:
    """Seal and drop what interrupted runs have left of the source; return what was done.

    The lock of the source is held, and ``inventory`` was read under it. What appears later belongs to another run.
    """
    sealed, unsealed = seal_what_was_left(connection, inventory, source)
    return (*map(sealed_caution, sealed), *unsealed, *_sweep_leftovers(connection, inventory, source))


def _sweep_leftovers(connection: Connection, inventory: Inventory, source: str) -> tuple[Caution, ...]:
    """Drop what was left. If that fails, it is a warning; only a lost connection is raised."""
    with server_errors(NOTHING_CHANGED):
        if not any(map(is_leftover, inventory.of_source(source))) or others_at_work(connection, source):
            return ()
    drops = Drops(wait=IN_PASSING)
    with drops.told():
        untried = drop_leftovers(connection, inventory, source, drops, within=IN_PASSING / 2)
    swept = [Caution("swept", f"Dropped {entry.name}, a leftover of an interrupted run.") for entry in drops.removed]
    failed = [
        Caution(
            "not_swept",
            f"{failure.entry.name}, a leftover of an interrupted run, was not dropped: {failure.error.message} "
            "To drop it: snapkit recover",
        )
        for failure in drops.failed
    ]
    more = f"{untried} more leftovers of interrupted runs were not dropped: there was no time for them. "
    return (*swept, *failed, *([Caution("not_swept", f"{more}To drop them: snapkit recover")] if untried else []))


def sweep_afterwards(server: Server, inventory: Inventory, observe: Observe) -> tuple[Caution, ...]:
    """Sweep what ``inventory`` shows as left, when the run has done its work and released the lock.

    If that fails, it is a warning. Another run that is at work sweeps by itself.
    """
    source = server.source
    if not any(is_leftover(entry) or entry.opened is not None for entry in inventory.of_source(source)):
        return ()
    observe(Progress("Removing leftovers of interrupted runs", timedelta(0)))
    try:
        with locked(server, timedelta(0)) as connection:
            return sweep(connection, gather(connection, source).inventory, source)
    except BusyError:
        return ()
    except (SnapkitError, KeyboardInterrupt) as error:
        reason = error.message if isinstance(error, SnapkitError) else "Interrupted."
        return (Caution("not_swept", f"Leftovers of interrupted runs were not removed: {reason}"),)


@contextmanager
def discarded_on_failure(server: Server, ddl: Connection, plan: ClonePlan | None) -> Iterator[None]:
    """Drop the clone if the block fails or is interrupted. If it cannot be dropped now, the next run sweeps it.

    ``ddl`` is the session that makes the clone; it holds the lock of the source.
    """
    own = driver_connection(ddl).info.backend_pid
    try:
        yield
    except BaseException:
        if plan is not None:
            with suppress(SnapkitError, *SERVER_ERRORS), server.connect() as connection:
                _discard(connection, plan.name, server.source, own)
        raise


def _discard(connection: Connection, name: str, source: str, own: int) -> None:
    """Drop a clone under construction, if it still is one and belongs to this run.

    A run that uses another maintenance database has a lock of its own, and may have taken the same name in the same
    second.
    """
    if others_at_work(connection, source, besides=own):
        return
    inventory = take_inventory(databases.databases(connection), role="")
    for entry in inventory.entries:
        if entry.name == name and entry.kind is Kind.PARTIAL:
            if entry.database.is_open_partial:
                entry = close(connection, entry)
                empty_sealed(connection, entry.database.oid, name, "")
            taken = take(connection, entry)
            send_drop(connection, statements_to_drop(taken.database), IN_PASSING)
