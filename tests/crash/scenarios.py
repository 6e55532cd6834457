"""What is run, on what, and what it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from psycopg import sql

from snapkit.core.inventory.database import PARTIAL_CONNECTION_LIMIT
from tests.sandbox import Sandbox

CLONES = "clones"
"""A tablespace on a small disk, on the servers that have one."""
SCRIPT_STAMP = "20260110_103045"


@dataclass(frozen=True)
class Scenario:
    """A command, and what makes the server ready for it; ``prepare`` returns the command's words.

    ``swaps`` says that the live database is to be another one afterwards, ``drops`` how many databases are to go.
    """

    name: str
    prepare: Callable[[Sandbox], list[str]]
    swaps: bool = False
    drops: int = 0

    @property
    def backs_up(self) -> bool:
        return self.name.startswith("backup")

    @property
    def only_reads(self) -> bool:
        """Whether it opens an entry, looks into it, and leaves everything as it was."""
        return self.name in ("shell", "diff")

    @property
    def compares(self) -> bool:
        """Whether it reads two databases at the same time, as long as it takes."""
        return self.name in ("diff", "restore")

    @property
    def restores(self) -> bool:
        """Whether rows of the live database are to be others afterwards."""
        return self.name == "restore"

    @property
    def is_online(self) -> bool:
        return "online" in self.name


def _backup(box: Sandbox) -> list[str]:
    return ["backup", "--label", "before v42"]


def _again(box: Sandbox) -> list[str]:
    """With an entry that lends itself for the gate at which the clone waits until all has been read."""
    box.back_up()
    return _backup(box)


def _online(box: Sandbox) -> list[str]:
    return ["backup", "--strategy", "online"]


def _elsewhere(box: Sandbox) -> list[str]:
    return ["backup", "--tablespace", CLONES]


def _rollback(box: Sandbox) -> list[str]:
    box.back_up()
    box.ruin()
    return ["rollback", "--latest"]


def _keep(box: Sandbox) -> list[str]:
    return [*_rollback(box), "--keep-backup"]


def _undo(box: Sandbox) -> list[str]:
    _rollback(box)
    box.roll_back()
    return ["undo"]


def _prune(box: Sandbox) -> list[str]:
    for _ in range(3):
        box.back_up()
    return ["prune", "--keep", "1"]


def _delete(box: Sandbox) -> list[str]:
    name = box.back_up().backup.name
    box.back_up()
    return ["delete", name]


def _pin(box: Sandbox) -> list[str]:
    return ["pin", box.back_up().backup.name, "--reason", "release 42"]


def _label(box: Sandbox) -> list[str]:
    return ["label", box.back_up().backup.name, "release 42"]


def _shell(box: Sandbox) -> list[str]:
    return ["shell", box.back_up().backup.name, "--", "true"]


def _diff(box: Sandbox) -> list[str]:
    box.back_up()
    box.ruin()
    return ["diff", "--rows", "1"]


def _adopt(box: Sandbox) -> list[str]:
    name = f"{box.name}_backup_{SCRIPT_STAMP}"
    box.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(box.name)))
    return ["adopt", name]


def _restore(box: Sandbox) -> list[str]:
    box.back_up()
    with box.connect() as connection:
        connection.execute("DELETE FROM item WHERE id <= 10")
        connection.execute("UPDATE item SET name = 'damaged' WHERE id = 11")
    return ["restore", "--latest", "--table", "item"]


def _recover(box: Sandbox) -> list[str]:
    box.back_up()
    box.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} ALLOW_CONNECTIONS false CONNECTION LIMIT {}").format(
            sql.Identifier(f"{box.name}_partial_{SCRIPT_STAMP}"),
            sql.Identifier(box.name),
            sql.Literal(PARTIAL_CONNECTION_LIMIT),
        )
    )
    return ["recover"]


SCENARIOS = (
    Scenario("backup", _backup),
    Scenario("backup beside another", _again),
    Scenario("rollback", _rollback, swaps=True),
    Scenario("rollback --keep-backup", _keep, swaps=True),
    Scenario("undo", _undo, swaps=True),
    Scenario("prune", _prune, drops=2),
    Scenario("delete", _delete, drops=1),
    Scenario("pin", _pin),
    Scenario("label", _label),
    Scenario("shell", _shell),
    Scenario("diff", _diff),
    Scenario("restore", _restore),
    Scenario("adopt", _adopt),
    Scenario("recover", _recover, drops=1),
    Scenario("backup --strategy online", _online),
    Scenario("backup --tablespace", _elsewhere),
)


def furnish(box: Sandbox) -> None:
    """Give the source something of each kind that a clone by template would not carry."""
    name = sql.Identifier(box.name)
    for statement in (
        "ALTER DATABASE {} SET work_mem TO '5MB'",
        "REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC",
        "COMMENT ON DATABASE {} IS 'of the shop'",
    ):
        box.execute(sql.SQL(statement).format(name))
