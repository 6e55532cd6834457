"""Where migration tools note what they have applied, and what the rows of their tables say. Decisions only.

Another tool is another ``VersionTable`` below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from snapkit.core.deploy.deploy import MigrationState, clean
from snapkit.core.values import dataclass

Row = Mapping[str, str | None]
"""One row of a version table: its columns as PostgreSQL writes them as text."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How a table looks: its columns, those of them whose length is bounded, and the tables of its schema that tell."""

    columns: Collection[str]
    bounded: Collection[str] = ()
    beside: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class VersionTable:
    """The table of one tool: by which columns it is known, and which row tells the present state."""

    tool: str
    name: str
    version: tuple[str, ...]
    """Columns that, joined by a point, name a migration."""
    order: str | None
    """The row with the highest is the newest; None: all rows are present at once (Alembic's heads)."""
    more: tuple[str, ...] = ()
    """Other columns that are needed."""
    unlike: tuple[str, ...] = ()
    """Columns that another tool has in a table of the same name."""
    beside: str | None = None
    """A table that the tool makes in the same schema, where this one by itself could be another tool's too."""
    bounded: bool = False
    """Whether it is known by the bound on its version's length (varchar(n)), which the other tools have not."""
    counts: Callable[[Row], bool] = lambda row: True
    """Whether a row is an applied migration at all."""
    failed: Callable[[Row], bool] = lambda row: False
    """Whether the newest migration went wrong, by its row."""
    repeats: bool = False
    """Whether a migration has a row for each time that it was applied or taken back, of which the newest holds."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that have to be read."""
        return tuple(dict.fromkeys((*self.version, *filter(None, (self.order,)), *self.more)))

    def fits(self, looks: Looks) -> bool:
        """Whether a table of this name that looks so is this tool's."""
        if self.beside is not None and self.beside not in looks.beside:
            return False
        if self.bounded and not set(self.version) <= set(looks.bounded):
            return False
        return set(self.columns) <= set(looks.columns) and not set(self.unlike) & set(looks.columns)

    def state(self, schema: str, rows: Sequence[Row]) -> MigrationState:
        """Return what the rows of its table say."""
        applied = self._applied(rows)
        if self.order is None:
            version = ", ".join(sorted(filter(None, map(self._name, applied)))) or None
        else:
            version = self._name(applied[-1]) if applied else None
        failed = bool(applied) and self.failed(applied[-1])
        return MigrationState(self.tool, schema, self.name, clean(version), len(applied), failed)

    def _applied(self, rows: Sequence[Row]) -> list[Row]:
        ordered = list(rows) if self.order is None else sorted(rows, key=lambda row: _sortable(row[self.order or ""]))
        if self.repeats:
            newest = {self._name(row): row for row in ordered}
            ordered = [row for row in ordered if newest[self._name(row)] is row]
        return [row for row in ordered if self.counts(row)]

    def _name(self, row: Row) -> str:
        return ".".join(row[column] or "" for column in self.version)


def _sortable(text: str | None) -> tuple[int, int, str]:
    """Numbers by their value, before words; nothing comes first."""
    if text is None:
        return -1, 0, ""
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20:
        return 0, int(text), ""
    return 1, 0, text


def _is(column: str, value: str | None) -> Callable[[Row], bool]:
    return lambda row: row[column] == value


VERSION_TABLES = (
    VersionTable("Alembic", "alembic_version", version=("version_num",), order=None),
    VersionTable("Django", "django_migrations", version=("app", "name"), order="id"),
    VersionTable(
        "golang-migrate",
        "schema_migrations",
        version=("version",),
        order="version",
        more=("dirty",),
        failed=_is("dirty", "t"),
    ),
    VersionTable("Ecto", "schema_migrations", version=("version",), order="version", more=("inserted_at",)),
    VersionTable(
        "Rails",
        "schema_migrations",
        version=("version",),
        order="version",
        unlike=("dirty", "inserted_at"),
        beside="ar_internal_metadata",
    ),
    VersionTable(
        "dbmate",
        "schema_migrations",
        version=("version",),
        order="version",
        unlike=("dirty", "inserted_at"),
        bounded=True,
    ),
    VersionTable("Rails", "schema_migrations", version=("version",), order="version", unlike=("dirty", "inserted_at")),
    VersionTable(
        "Flyway",
        "flyway_schema_history",
        version=("version",),
        order="installed_rank",
        more=("success",),
        counts=lambda row: row["version"] is not None,
        failed=_is("success", "f"),
    ),
    VersionTable(
        "Prisma",
        "_prisma_migrations",
        version=("migration_name",),
        order="migration_name",
        more=("finished_at", "rolled_back_at"),
        counts=_is("rolled_back_at", None),
        failed=_is("finished_at", None),
    ),
    VersionTable("Drizzle", "__drizzle_migrations", version=("created_at",), order="created_at", more=("hash",)),
    VersionTable("Sequelize", "SequelizeMeta", version=("name",), order="name"),
    VersionTable("node-pg-migrate", "pgmigrations", version=("name",), order="id", more=("run_on",)),
    VersionTable("TypeORM", "migrations", version=("name",), order="timestamp", more=("id",)),
    VersionTable("Knex", "knex_migrations", version=("name",), order="id", more=("batch",)),
    VersionTable(
        "sqlx",
        "_sqlx_migrations",
        version=("version",),
        order="version",
        more=("success",),
        failed=_is("success", "f"),
    ),
    VersionTable(
        "goose",
        "goose_db_version",
        version=("version_id",),
        order="id",
        more=("is_applied",),
        counts=lambda row: row["is_applied"] == "t" and row["version_id"] != "0",
        repeats=True,
    ),
)
"""Of those with the same name, the first that fits counts."""

TABLE_NAMES = frozenset(each.name for each in VERSION_TABLES)
NEIGHBOURS = frozenset(each.beside for each in VERSION_TABLES if each.beside is not None)


def recognise_table(name: str, looks: Looks) -> VersionTable | None:
    """Return whose version table it is that bears this name and looks so; None if it is nobody's."""
    return next((each for each in VERSION_TABLES if each.name == name and each.fits(looks)), None)
