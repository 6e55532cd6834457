"""How many files a database has, by its own catalog. Any role may read that in the database."""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, Integer, case, cast, func, select

from snapkit.postgres.catalog.tables import pg_class

_WITH_STORAGE = ("r", "t", "m", "i", "S")
"""Tables, TOAST tables, materialized views, indexes and sequences. Partitioned tables and indexes have no files."""

_SEGMENT_PAGES = 131_072
"""A file holds 1 GB of pages of 8 kB."""

_MAPPED_PAGES = 4
"""A table with more pages has a free space map (HEAP_FSM_CREATION_THRESHOLD in PostgreSQL's source)."""


def file_count(connection: Connection) -> int:
    """Return about how many files the connected database has.

    It goes by what the last VACUUM or ANALYZE noted, and does not read the disk. A relation has a file for each
    gigabyte, one for each map, and an init fork if it is unlogged. Temporary tables are not counted: their sessions
    have to end before a clone.
    https://www.postgresql.org/docs/current/storage-file-layout.html
    """
    is_table = pg_class.c.relkind.in_(("r", "t", "m"))
    files = (
        1
        + func.greatest(pg_class.c.relpages, 0, type_=Integer).op("/")(_SEGMENT_PAGES)
        + case((is_table & (pg_class.c.relpages > _MAPPED_PAGES), 1), else_=0)
        + case((is_table & (pg_class.c.relallvisible > 0), 1), else_=0)
        + case((pg_class.c.relpersistence == "u", 1), else_=0)
    )
    total = func.coalesce(cast(func.sum(files), BigInteger), 0, type_=BigInteger)
    return connection.execute(
        select(total).where(
            pg_class.c.relkind.in_(_WITH_STORAGE), ~pg_class.c.relisshared, pg_class.c.relpersistence != "t"
        )
    ).scalar_one()
