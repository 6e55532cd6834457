"""Whether rows that go straight from the entry into the live table find there what they refer to.

Only the values of the foreign key travel, each once.
"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from snapkit.core.restoring.live_table import ForeignKey
from snapkit.postgres.copying.relay import relay
from snapkit.postgres.restoring.conflicts import parent_of, refers, refers_to_something
from snapkit.postgres.restoring.entry_rows import never, reads
from snapkit.postgres.restoring.stage import Stage, Straight, listed, send


def finds_its_parents(stage: Stage, straight: Straight, keys: Iterable[ForeignKey]) -> bool:
    """Whether each row has a parent, for each of the foreign keys from this table, as of now."""
    return all(_is_whole(stage, straight, key, number) for number, key in enumerate(keys))


def _is_whole(stage: Stage, straight: Straight, key: ForeignKey, number: int) -> bool:
    by_name = {each.live.name: each.entry.name for each in stage.fits}
    there = listed([sql.Identifier(each) for each in key.child_columns])
    here = [sql.Identifier(by_name[each]) for each in key.child_columns]
    values = sql.Identifier("pg_temp", f"snapkit_parents_{stage.number}_{number}")
    send(
        stage.session,
        sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {} WITH NO DATA").format(values, there, stage.new),
    )
    write = sql.SQL("COPY {} ({}) FROM STDIN").format(values, there)
    for read in reads(stage, here, straight.places, distinct=True):
        relay(straight.entry, stage.session, read, write, never)
    found = send(
        stage.session,
        sql.SQL(
            "SELECT EXISTS (SELECT FROM (SELECT DISTINCT * FROM {}) AS n WHERE {} "
            "AND NOT EXISTS (SELECT FROM {} AS p WHERE {}))"
        ).format(values, refers_to_something(key, "n"), parent_of(key), refers(key, "p", "n")),
    ).fetchone()
    send(stage.session, sql.SQL("DROP TABLE {}").format(values))
    return found == (False,)
