"""Bring late writes along with a rollback: from the displaced database into the one that is live now.

The backup is kept: a clone of it goes live. So there are three databases afterwards, and of each row it can be told
what the backup had, what clients made of it, and what it is by now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from snapkit.core.carrying.carried import Carried, LeftAside
from snapkit.core.carrying.sequence_moves import Move
from snapkit.core.comparison.lineage import Boundary
from snapkit.core.plans.clone import ClonePlan
from snapkit.core.plans.statements import WrittenStep
from snapkit.core.plans.swap import SwapPlan
from snapkit.core.reporting import Caution, Observe, Progress
from snapkit.core.restoring.restored import TriggerMode
from snapkit.errors import NOTHING_CHANGED, BusyError, SnapkitError, UnknownOutcomeError
from snapkit.postgres.carrying.boundary_snapshot import committed, is_committed
from snapkit.postgres.carrying.foreign_keys import unchecked_tables
from snapkit.postgres.carrying.live_rows import WrittenTable, check_at_once, may_pass, turn_triggers_off
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.safe_settings import set_settings
from snapkit.postgres.connection.server import Connection, Server
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.probe.any_writes import next_transaction_id
from snapkit.postgres.restoring.live_tables import foreign_keys
from snapkit.postgres.sql.ddl import sql_text
from snapkit.postgres.sql.execution import transaction
from snapkit.processes.deadline import wait_until
from snapkit.services.carrying.knowledge import TouchedRows
from snapkit.services.carrying.late_rows import Carrier
from snapkit.services.carrying.late_tables import Late, find_late_rows
from snapkit.services.carrying.request import CarryRequest
from snapkit.services.carrying.sequence_margin import Look, look_at_sequences, move_past_live, overtaken
from snapkit.services.carrying.touched import note_touched
from snapkit.services.comparison.kinship import kinship_of
from snapkit.services.comparison.sides import Sides
from snapkit.services.entries.reading import Reading, reading_entries
from snapkit.services.run.survey import RunContext

_ATTEMPTS = 3
"""Clients work in the live database. A deadlock with one, or a lock that is not to be had in time, may pass."""

_WRITING = {
    "row_security": "off",
    # It bounds how long clients wait for rows that we have locked if the network fails silently.
    "idle_in_transaction_session_timeout": "60s",
}

_ASKING = timedelta(seconds=20)
"""How long the server is asked what became of a COMMIT that it did not answer."""

_PHASE = "Bringing late writes along"


class Carrying:
    """Late writes that go along with one swap. ``cautions`` are what is to be said of it."""

    def __init__(self, request: CarryRequest) -> None:
        self.cautions: tuple[Caution, ...] = ()
        self._request = request
        self._earlier: Look | None = None
        self._moves: tuple[Move, ...] = ()

    @property
    def boundary(self) -> Boundary | None:
        """The moment after which writes are late, for the document of what is displaced."""
        return self._request.boundary

    @staticmethod
    def among(steps: Sequence[WrittenStep], clone: ClonePlan) -> tuple[WrittenStep, ...]:
        """Return the steps of a swap with those for late writes among them; the first makes the clone."""
        moving = tuple(map(sql_text, (*clone.opening, *clone.closing)))
        return (
            steps[0],
            WrittenStep("Open the clone to its owner only, set its sequences ahead, and seal it", moving, atomic=False),
            *steps[1:],
            WrittenStep("Bring late writes along, in one transaction, while clients work", (), atomic=False),
        )

    def begin(self, context: RunContext) -> None:
        """See how far the live database's sequences are, to know later how fast they go on."""
        self.cautions = ()
        with server_errors(NOTHING_CHANGED):
            self._earlier = look_at_sequences(context)

    def prepare(self, context: RunContext, plan: SwapPlan, oid: int) -> SwapPlan:
        """Move the sequences of the clone ``oid`` that is to go live; return the plan, as the clone is now."""
        moved = move_past_live(context, plan, oid, self._earlier)
        self._moves = moved.moves
        self.cautions += moved.cautions
        return moved.plan

    def bring(
        self, server: Server, plan: SwapPlan, restored_oid: int, lock_wait: timedelta, observe: Observe
    ) -> Carried | None:
        """Bring late writes along, now that the swap is done; None, and a warning, if that was not possible.

        Nothing is raised: the rollback stands, whatever comes of this.
        """
        displaced = plan.displaced_name
        if plan.live is None or displaced is None:
            return None
        try:
            with server_errors(""):
                carried = self._bring(server, (plan.entry.name, displaced), restored_oid, lock_wait, observe)
        except (SnapkitError, KeyboardInterrupt) as error:
            self.cautions += (_failed(error, displaced),)
            return None
        self.cautions += _told(carried)
        return carried

    def _bring(
        self, server: Server, names: tuple[str, str], live_oid: int, lock_wait: timedelta, observe: Observe
    ) -> Carried:
        began = monotonic()

        def step(table: str) -> None:
            observe(Progress(f"{_PHASE}: comparing {table}", timedelta(seconds=monotonic() - began)))

        clone = self._request.clone
        wanted = names if clone is None else (*names, clone)
        with ExitStack() as stack:
            reading = stack.enter_context(reading_entries(server, wanted, lock_wait, observe, command="rollback"))
            entry, old = reading.entries[:2]
            before, after = (stack.enter_context(reading.enter(each)) for each in (entry, old))
            connection = stack.enter_context(server.connect())
            self.cautions += overtaken(after, self._moves)
            if committed(connection, self._request.unsettled):
                raise SnapkitError(
                    "A transaction that had been open when the command ended was committed later: its rows cannot be "
                    "told from those of clients."
                )
            kinship = kinship_of(connection, reading.state, entry.database, old.database)
            knowledge = self._request.knowledge
            if clone is not None:
                knowledge = self._told_by_clone(reading, connection, before, stack)
            sides = Sides(before, after, reading.check)
            stack.callback(sides.close)
            late = find_late_rows(sides, kinship, knowledge, step)
            observe(Progress(_PHASE, timedelta(seconds=monotonic() - began)))
            return _written(server, reading.state.facts.quiet, live_oid, late, names[1])

    @staticmethod
    def _told_by_clone(reading: Reading, asked: Connection, before: Connection, stack: ExitStack) -> TouchedRows:
        """Return what the clone at the boundary tells of rows by then."""
        touched = stack.enter_context(TouchedRows())
        entry, _, clone = reading.entries
        with reading.enter(clone) as inside:
            sides = Sides(before, inside, reading.check)
            try:
                kinship = kinship_of(asked, reading.state, entry.database, clone.database)
                note_touched(sides, kinship, touched, lambda: None)
            finally:
                sides.close()
        return touched


def _written(server: Server, quiet: dict[str, str], live_oid: int, late: Late, displaced: str) -> Carried:
    """Write the late rows to the live database; try again where what was in the way may pass."""
    if not late.tables:
        return Carried(displaced, not_carried=late.left)
    attempts = _ATTEMPTS
    while True:
        attempts -= 1
        try:
            return _Writing(server, quiet, live_oid, late, displaced).once()
        except SERVER_ERRORS as error:
            if not attempts or not may_pass(error):
                raise


class _Writing:
    """One transaction in the live database."""

    def __init__(self, server: Server, quiet: dict[str, str], live_oid: int, late: Late, displaced: str) -> None:
        self._server = server
        self._quiet = quiet
        self._live_oid = live_oid
        self._late = late
        self._displaced = displaced
        self._xid: int | None = None
        """The transaction, once nothing but its COMMIT is left."""
        self._done: Carried | None = None

    def once(self) -> Carried:
        try:
            with self._entered() as live, transaction(live):
                if databases.own_database(live) != self._live_oid:
                    raise BusyError(f"{self._server.source!r} is another database by now.")
                carried = self._write(live)
                self._done, self._xid = carried, next_transaction_id(live)
        except BaseException as error:
            if self._done is None or self._xid is None or not self._is_committed(error):
                raise
            return self._done
        return carried

    @contextmanager
    def _entered(self) -> Iterator[Connection]:
        with self._server.enter(self._server.source, self._quiet) as live:
            set_settings(live, _WRITING)
            yield live

    def _write(self, live: Connection) -> Carried:
        tables, left = self._late.tables, self._late.left
        written = [each.table for each in tables]
        partitions = [oid for each in written for oid in each.partitions]
        keys, beyond_us = foreign_keys(live, [each.oid for each in written], partitions)
        triggers = TriggerMode.OFF if not beyond_us and turn_triggers_off(live) else TriggerMode.ON
        if triggers is TriggerMode.ON:
            check_at_once(live)
        else:
            unchecked = unchecked_tables(live)
            left += tuple(_unchecked(each.table) for each in tables if each.table.oid in unchecked)
            tables = tuple(each for each in tables if each.table.oid not in unchecked)
        carrier = Carrier(live, keys, triggers_off=triggers is TriggerMode.OFF)
        carrier.carry(tables)
        carried = carrier.result(self._displaced)
        return replace(carried, not_carried=left, triggers=triggers)

    def _is_committed(self, error: BaseException) -> bool:
        """Whether the COMMIT went through, though its answer was lost; raise if that cannot be known."""
        answers: list[bool] = []

        def is_answered() -> bool:
            with suppress(SnapkitError, *SERVER_ERRORS), self._server.connect() as connection:
                found = is_committed(connection, self._xid or 0)
                answers.extend([] if found is None else [found])
            return bool(answers)

        if not wait_until(is_answered, _ASKING, every=0.5):
            raise UnknownOutcomeError("the server does not answer") from error
        return answers[0]


def _unchecked(table: WrittenTable) -> LeftAside:
    return LeftAside(table.schema, table.name, None, "it has a deferrable unique constraint, which triggers check")


def _told(carried: Carried) -> tuple[Caution, ...]:
    if not carried.number_of_conflicts:
        return ()
    rows = "1 row" if carried.number_of_conflicts == 1 else f"{carried.number_of_conflicts:,} rows"
    return (
        Caution(
            "conflicts",
            f"{rows} could not be brought along without guessing. Nothing is lost: they are in {carried.displaced}. "
            f"To settle them: snapkit restore {carried.displaced} --late-writes --table TABLE",
        ),
    )


def _failed(error: BaseException, displaced: str) -> Caution:
    if isinstance(error, UnknownOutcomeError):
        said = f"The rollback is done. It is not known whether late writes were brought along: {error.message}."
    else:
        why = error.message if isinstance(error, SnapkitError) else "It was interrupted."
        said = f"The rollback is done, but late writes were not brought along. {why}"
    command = f"snapkit restore {displaced} --late-writes --table TABLE"
    return Caution("carry_failed", f"{said} They are in {displaced}. To bring them along: {command}")
