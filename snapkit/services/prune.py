"""Prune and delete: drop entries one by one, under the lock of their source; one that fails does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime, timedelta
from functools import partial
from time import monotonic

from snapkit.core.checks.disk_room import displaced_cautions
from snapkit.core.inventory.entry import Entry
from snapkit.core.inventory.kinds import State
from snapkit.core.inventory.ordering import ahead_cautions
from snapkit.core.inventory.retention import Kept, Policy, Verdict, decide
from snapkit.core.plans.drop import plan_drops
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.reporting import Caution, Observe, Progress, unobserved
from snapkit.core.values import dataclass
from snapkit.errors import NOTHING_CHANGED, BusyError, SnapkitError, UsageError
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import server_errors
from snapkit.postgres.sql.drop import DROP_WAIT
from snapkit.services.entries.drop import DropOutcome, Drops, Failure, Shielded, hindrance
from snapkit.services.entries.leftovers import sweep
from snapkit.services.run.disk_room import room_cautions
from snapkit.services.run.preconditions import check_server
from snapkit.services.run.source_lock import hold_lock
from snapkit.services.run.survey import (
    ServerState,
    altered_cautions,
    chosen,
    gather,
    need_live,
    with_sizes,
    written,
)

Choose = Callable[[ServerState], Verdict]
"""What stays and what goes; called again under the lock, so that it judges what is there then."""


def choose_by_policy(policy: Policy, source: str | None, spared: Collection[int] = ()) -> Choose:
    """Choose by retention policy; ``source`` None means every source on the server.

    ``spared`` are the OIDs of backups that this run has made: no rule drops them.
    """

    def choose(gathered: ServerState) -> Verdict:
        entries = gathered.inventory.entries if source is None else gathered.inventory.of_source(source)
        if source is not None and not entries:
            need_live(gathered, source)  # a misspelt name must not look like a database without backups
        return decide(entries, policy, gathered.facts.now, spared)

    return choose


def choose_by_name(names: Sequence[str], source: str, *, latest: bool = False) -> Choose:
    """Choose named entries; raise, so that nothing is dropped, if one of them is not there or not to be dropped.

    ``latest``: the newest ready backup, too.
    """
    wanted: tuple[str | None, ...] = (*names, None) if latest else tuple(names)

    def choose(gathered: ServerState) -> Verdict:
        entries = gathered.inventory.of_source(source)
        removed = tuple(dict.fromkeys(chosen(gathered, source, each) for each in wanted))
        for entry in removed:
            _check_deletable(entry)
        oids = {entry.database.oid for entry in removed}
        return Verdict(kept=tuple(Kept(e, ()) for e in entries if e.database.oid not in oids), removed=removed)

    return choose


def _all_of(preview: RemovalPreview) -> tuple[Entry, ...]:
    """Return all that was to be dropped when the user was asked, even what could not be dropped then."""
    return (*preview.removed, *(failure.entry for failure in preview.failed))


def _tell(waits_for: str, *, observe: Observe, phase: str, began: float, done: int, total: int) -> None:
    """Tell the progress: which drop is under way, and what it waits for, if it waits."""
    elapsed = timedelta(seconds=monotonic() - began)
    said = f"{phase}; it waits for {waits_for}" if waits_for else phase
    observe(Progress(said, elapsed, done, total, waits=bool(waits_for), unit="databases"))


def _check_deletable(entry: Entry) -> None:
    if entry.pinned:
        reason = f" ({entry.pin_reason})" if entry.pin_reason else ""
        raise UsageError(
            f"{entry.name!r} is pinned{reason}.",
            state="Nothing was dropped.",
            hint=f"To drop it anyway, first run: snapkit unpin {entry.name}",
        )
    if entry.state is State.UNMANAGED or (entry.state is State.INVALID and not entry.is_managed):
        raise UsageError(
            f"{entry.name!r} is not known to be made by snapkit.",
            state="Nothing was dropped.",
            hint=f"If it is a backup, first run: snapkit adopt {entry.name}",
        )


def preview_removal(server: Server, choose: Choose) -> RemovalPreview:
    """Return what would be dropped now, with sizes; nothing is changed."""
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        verdict = choose(gathered)
        sized = with_sizes(connection, verdict.removed)
        with server_errors(NOTHING_CHANGED):
            hindered = [Failure(entry, error) for entry in sized if (error := hindrance(connection, entry))]
        oids = {failure.entry.database.oid for failure in hindered}
        free = tuple(entry for entry in sized if entry.database.oid not in oids)
        steps, now = written(plan_drops(free)), gathered.facts.now
        cautions = _cautions(verdict, now) + _pile(connection, verdict.kept, gathered)
        return RemovalPreview(verdict.kept, free, steps, now, cautions, tuple(hindered))


def _pile(connection: Connection, kept: Iterable[Kept], gathered: ServerState) -> tuple[Caution, ...]:
    """Tell the size of displaced databases that no rule was given for; warn if the disk is nearly full."""
    displaced = tuple(each.entry for each in kept if each.is_unruled)
    if not displaced:
        return ()
    return displaced_cautions(with_sizes(connection, displaced)) + room_cautions(connection, gathered.live)


def _cautions(verdict: Verdict, now: datetime) -> tuple[Caution, ...]:
    kept = [each.entry for each in verdict.kept]
    # How an altered one is made a way back again is of no use for what goes.
    return ahead_cautions((*kept, *verdict.removed), now) + altered_cautions(kept)


def remove(
    server: Server,
    choose: Choose,
    lock_wait: timedelta,
    *,
    confirmed: RemovalPreview | None = None,
    observe: Observe = unobserved,
    shielded: Shielded = nullcontext,
    drop_wait: timedelta = DROP_WAIT,
) -> Removal:
    """Drop what ``choose`` chooses, but nothing that the user was not shown (``confirmed``).

    Each source is judged again under its lock, so that a rollback in between cannot make us drop the last backup. If
    there was one entry, and it could not be dropped, its error is raised. Each drop may take ``drop_wait``. Under
    ``shielded``, Ctrl-C waits a while for the drop that is under way; run the same command again for the rest.
    """
    began = monotonic()
    with server.connect() as connection:
        gathered = gather(connection, server.source)
        first = choose(gathered)
        shown = {entry.database.oid for entry in (_all_of(confirmed) if confirmed else first.removed)}
        kept = list(first.kept)
        drops = Drops(wanted=len(shown), shielded=shielded, wait=drop_wait)
        cautions = list(_cautions(first, gathered.facts.now))
        check_server(connection, makes_room=True)
        for source in dict.fromkeys(entry.source for entry in first.removed):
            try:
                with drops.told(), hold_lock(connection, source, lock_wait, observe):
                    now = gather(connection, server.source)
                    verdict = choose(now)
                    kept = [each for each in kept if each.entry.source != source]
                    kept += [each for each in verdict.kept if each.entry.source == source]
                    chosen = (e for e in verdict.removed if e.source == source and e.database.oid in shown)
                    for entry in with_sizes(connection, tuple(chosen)):
                        done = len(drops.removed) + len(drops.failed)
                        phase = f"Dropping {done + 1} of {len(shown)}: {entry.name}"
                        tell = partial(_tell, observe=observe, phase=phase, began=began, done=done, total=len(shown))
                        tell("")
                        drops.tell = tell
                        drops.drop(connection, entry)
                    cautions += sweep(connection, now.inventory, source)
            except BusyError as error:
                error.state = f"Nothing of {source!r} was dropped."
                those = (e for e in first.removed if e.source == source and e.database.oid in shown)
                drops.failed += [Failure(entry, error) for entry in those]
        drops.raise_if_alone()
        with suppress(SnapkitError):
            cautions += _pile(connection, kept, gathered)
        return Removal(
            kept=tuple(kept),
            removed=tuple(drops.removed),
            failed=tuple(drops.failed),
            now=gathered.facts.now,
            as_confirmed=confirmed is not None and len(drops.removed) == len(shown),
            cautions=tuple(cautions),
        )


@dataclass(frozen=True, slots=True)
class RemovalPreview:
    """What prune or delete would drop and what stays; sizes included. ``failed`` is what could not be dropped now."""

    kept: tuple[Kept, ...]
    removed: tuple[Entry, ...]
    steps: tuple[WrittenStep, ...]
    now: datetime
    cautions: tuple[Caution, ...] = ()
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Removal(DropOutcome):
    """What prune or delete dropped; ``as_confirmed``: exactly what the user was shown beforehand, and agreed to."""

    kept: tuple[Kept, ...]
    removed: tuple[Entry, ...]
    failed: tuple[Failure, ...]
    now: datetime
    as_confirmed: bool = False
    cautions: tuple[Caution, ...] = ()

    @property
    def freed_bytes(self) -> int:
        return sum(entry.size_bytes or 0 for entry in self.removed)
