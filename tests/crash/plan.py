"""From what a command was seen to send to the trials that are made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.crash.scenarios import Scenario
from tests.crash.trial import Trial
from tests.crash.ways import EVERYWHERE, Way
from tests.gate import Phase, Point

_LOCKS = re.compile(r"pg_try_advisory_lock|pg_advisory|pg_terminate_backend")
"""Functions in a question that do something."""
_BY_CHANCE = re.compile(r"pg_ls_dir|^read pg_database_size|pg_blocking_pids|^read (pg_stat_activity|set_config)$")
"""What the watcher asks now and then, as time goes by: how far the clone is, and who is in its way."""
_TAKES_TIME = re.compile(r"CREATE DATABASE|DROP DATABASE|ALTER DATABASE app RENAME")
_ROUTINE = re.compile(r"read|show|connect|BEGIN|SAVEPOINT|RELEASE|SET ")
_WITHIN = re.compile(r"GRANT|REVOKE|ALTER DATABASE \S+ (SET|CONNECTION)|ALTER ROLE")
"""Statements that are only ever part of a transaction, which has others of more weight."""

_WRITES = re.compile(r"CREATE DATABASE|DROP DATABASE|COMMENT|.* RENAME TO|COMMIT")

STANDARD_BEARERS = (Way.KILL, Way.INT, Way.CUT)


def is_routine(point: Point) -> bool:
    """Whether the statement leaves nothing behind: a question, the opening of a connection or of a transaction."""
    return bool(_ROUTINE.match(point.label)) and not _LOCKS.search(point.label)


_BEATS = re.compile(r"pg_database_size|^read pg_stat_activity, pg_roles, pg_has_role, pg_locks$|^read 1$")
"""What an online copy asks every second, while programs and threads work."""
_UNTIL_EMPTY = re.compile(r"pg_terminate_backend|^read pg_locks$")
"""What it asks of the sealed copy until nobody is inside."""
_ONCE_MORE = re.compile(r"pg_shdescription, pg_shseclabel$")
"""What a template was; compared a third time only where no gate could be kept, and the copying was over too soon."""
_UNTIL_GONE = re.compile(r"^read pg_stat_activity$")
"""What is asked until a session of our own, which has looked into the live database, is gone."""


_BEATS_OF_A_READER = re.compile(r"^read pg_database(, shobj_description)?$")
"""What a diff asks every second while it reads: whether somebody else needs the entry."""
_OF_SESSIONS_INSIDE = re.compile(r"^connect$|^LOCK TABLE|^ROLLBACK$")
"""Of all that it reads inside the two databases; one question there is like another."""


def points_of(recorded: list[Point], scenario: Scenario) -> list[Point]:
    """Return the points that come in every run; of the watcher's, which asks the same again and again, the first.

    Of a copy that is made online they are those of the working connection: the others, of programs and threads side by
    side, come in another order each time. tests/server/test_backup_online.py lets those die.
    """
    recorded = [
        p
        for p in recorded
        if not (p.occurrence > 1 and _UNTIL_GONE.search(p.label))
        and not (p.occurrence > 2 and _ONCE_MORE.search(p.label))
    ]
    if scenario.compares:
        inside = {p.connection for p in recorded if p.label.startswith("LOCK TABLE")}
        recorded = [
            p
            for p in recorded
            if (p.connection in inside and _OF_SESSIONS_INSIDE.search(p.label))
            or (p.connection not in inside and not _BEATS_OF_A_READER.search(p.label))
        ]
    if scenario.is_online:
        return [
            p
            for p in recorded
            if p.connection == 1
            and not _BEATS.search(p.label)
            and not (p.occurrence > 1 and _UNTIL_EMPTY.search(p.label))
        ]
    return [p for p in recorded if p.connection == 1 or (p.occurrence == 1 and not _BY_CHANCE.search(p.label))]


def phases_of(point: Point) -> list[Phase]:
    """What leaves nothing behind is the same to the server before and after it; what writes is stopped at both."""
    if is_routine(point) or _WITHIN.match(point.label) or _LOCKS.search(point.label):
        return [Phase.BEFORE]
    return [Phase.BEFORE, *([Phase.INSIDE] if _TAKES_TIME.match(point.label) else []), Phase.AFTER]


def ways_at(scenario: Scenario, point: Point, phase: Phase) -> Iterator[Way]:
    """Every way; three of them stand for all where a statement leaves nothing behind, or nothing by itself."""
    if scenario.name == "backup --tablespace":  # this one is there for the disk
        if point.label.startswith("CREATE DATABASE") and phase is Phase.INSIDE:
            yield Way.TABLESPACE_FULL
        return
    yield from STANDARD_BEARERS if is_routine(point) or _WITHIN.match(point.label) else EVERYWHERE
    if _WRITES.match(point.label) and phase is Phase.BEFORE:
        yield Way.WAL_FULL
    if _WRITES.match(point.label) and (phase is Phase.BEFORE or point.label == "COMMIT"):
        yield Way.PROMOTED


def trials_of(scenario: Scenario, points: list[Point]) -> Iterator[Trial]:
    """Every point, in every phase, in every way that is for it."""
    for point in points:
        for phase in phases_of(point):
            for way in ways_at(scenario, point, phase):
                yield Trial(scenario, point, phase, way)
