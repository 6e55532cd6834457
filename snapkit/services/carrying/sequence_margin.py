"""Before a swap, move the sequences of the clone that is to go live past those of the live database.

Clients insert as soon as the clone is live. The values that they get must not be those of late rows, which may not be
there yet. The clone is nobody's yet: if the swap is not taken, it is dropped, and nothing has to be set back.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from time import monotonic

from snapkit.core.carrying.sequence_moves import Move, Sequence, behind, moves, paired
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.plans.swap import SwapPlan
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.carrying.sequence_values import move_sequences, sequences
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.connection.sqlstates import SERVER_ERRORS, server_errors
from snapkit.postgres.sql.execution import committing_locally, run, transaction
from snapkit.services.entries.swap import unswapped
from snapkit.services.outage.emptying import empty_sealed
from snapkit.services.run.probe import await_end
from snapkit.services.run.survey import RunContext

_LIMIT = timedelta(seconds=2)
"""For a look at the live database's sequences; see ``probe``."""


@dataclass(frozen=True, slots=True)
class Look:
    """The sequences of the live database, and when that was, by the monotonic clock."""

    found: tuple[Sequence, ...]
    at: float


def look_at_sequences(context: RunContext) -> Look | None:
    """Read the live database's sequences; None if they cannot be read now. Our session is gone afterwards."""
    live = context.state.live
    pid = None
    found: Look | None = None
    if live is None:
        return None
    with (
        suppress(SnapkitError, *SERVER_ERRORS),
        context.server.probe(live.name, _LIMIT, context.state.facts.quiet) as inside,
    ):
        pid = driver_connection(inside).info.backend_pid
        if databases.own_database(inside) == live.oid:
            found = Look(tuple(sequences(inside)), monotonic())
    if pid is not None:
        await_end(context.ddl, pid)
    return found


@dataclass(frozen=True, slots=True)
class Moved:
    """The plan, now that its clone was open meanwhile; the sequences that were moved, and warnings of the others."""

    plan: SwapPlan
    moves: tuple[Move, ...] = ()
    cautions: tuple[Caution, ...] = ()


def move_past_live(context: RunContext, plan: SwapPlan, oid: int, earlier: Look | None) -> Moved:
    """Move the sequences of the clone ``oid``, which nobody knows yet; raise if it cannot be sealed again.

    That a sequence cannot be moved is no error, but a warning: the rollback is what matters. ``earlier`` is a look at
    the live sequences some time ago, from which their rate is known.
    """
    clone, server, ddl, state = plan.clone, context.server, context.ddl, unswapped(plan)
    assert clone is not None  # noqa: S101 - with late writes, a clone is swapped in
    if context.state.live is None:
        return Moved(plan)
    with server_errors(state):
        now = look_at_sequences(context)
    if now is None:
        return Moved(plan, cautions=(_behind("The sequences of the live database could not be read."),))
    refused: list[Move] = []
    done: list[Move] = []
    problem: str | None = None
    with server_errors(state), committing_locally(ddl):
        with transaction(ddl):
            run(ddl, *clone.opening)
        try:
            with server.enter(clone.name, context.state.facts.quiet) as inside:
                done, refused = move_sequences(inside, _wanted(context, plan, sequences(inside), now, earlier))
        except (SnapkitError, *SERVER_ERRORS) as error:
            problem = error.message if isinstance(error, SnapkitError) else str(error).splitlines()[0]
        finally:
            run(ddl, *clone.closing)
            empty_sealed(ddl, oid, clone.name, state)
    cautions = [_behind(f"The sequences could not be moved: {problem}")] if problem else []
    cautions += [_behind(f"Your role may not set {_listed(refused)}.")] if refused else []
    return Moved(replace(plan, clone=replace(clone, was_open=True)), tuple(done), tuple(cautions))


def _wanted(
    context: RunContext, plan: SwapPlan, own: list[Sequence], now: Look, earlier: Look | None
) -> Iterable[Move]:
    metadata = plan.entry.metadata
    pairs = paired(own, now.found, related=metadata is not None and metadata.strategy is not Strategy.ONLINE)
    at_backup = [replace(mine, oid=live.oid) for mine, live in pairs]
    since = context.state.facts.now - plan.entry.created_at
    looks = [(at_backup, since), *([(earlier.found, timedelta(seconds=now.at - earlier.at))] if earlier else [])]
    return moves(pairs, looks)


def overtaken(displaced: Connection, moved: Iterable[Move]) -> tuple[Caution, ...]:
    """Warn of sequences that the live database had used further than expected, by the time it was displaced."""
    late = behind(moved, sequences(displaced))
    if not late:
        return ()
    return (_behind(f"Until the swap more values were used than expected, of {_listed(late)}."),)


def _behind(what: str) -> Caution:
    return Caution(
        "sequence_behind",
        f"{what} So rows that clients insert now may take the keys of rows that were not brought along.",
    )


def _listed(found: Iterable[Move]) -> str:
    return ", ".join(f"{each.schema}.{each.name}" for each in found)
