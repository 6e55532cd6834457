"""Give a database the properties of another, as far as this role may, and say what it lacks and how it can be given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from snapkit.core.inventory.entry import Entry
from snapkit.core.plans.not_given import Recalled, lacking, recall
from snapkit.core.plans.properties import (
    Difference,
    Properties,
    compare,
    explains,
    statements_to_correct,
    statements_to_replace,
    statements_to_set,
)
from snapkit.core.plans.statements import Statement
from snapkit.core.reporting import Caution
from snapkit.core.values import dataclass
from snapkit.errors import SnapkitError
from snapkit.postgres.catalog import databases
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.sql.ddl import sql_text
from snapkit.postgres.sql.execution import Left, run_permitted, unlimited


@dataclass(frozen=True, slots=True)
class Given:
    """What came of it: what a database could ``not`` be ``given``, by name, and the warning that says so."""

    not_given: tuple[str, ...] = ()
    cautions: tuple[Caution, ...] = ()


def restore_properties(
    connection: Connection,
    wanted: Properties,
    oid: int,
    *,
    name: str,
    final_name: str,
    present: Properties | None = None,
    left: Left = unlimited,
) -> Given:
    """Give the database ``name`` the properties ``wanted``, and compare, inside the transaction that finishes it.

    What the role has no right to set is returned, with a caution that has the statements for an administrator; anything
    else that differs is raised as SnapkitError. ``final_name`` is the database's name after the transaction;
    ``present`` are the properties that it has already, if it is not a fresh clone. Each statement may take what is
    ``left``.
    """

    def statements_for(database: str) -> tuple[Statement, ...]:
        if present is None:
            return statements_to_set(database, wanted)
        return statements_to_replace(database, present, wanted)

    refused = run_permitted(connection, statements_for(name), left)
    found = databases.read_properties(connection, oid)
    if corrections := statements_to_correct(name, wanted, found):
        refused += run_permitted(connection, corrections, left)
        found = databases.read_properties(connection, oid)
    differences = compare(wanted, found)
    if not differences:
        return Given()
    if not all(any(explains(statement, each) for statement in refused) for each in differences):
        raise SnapkitError(
            f"The properties of {final_name!r} would differ from those of its source: {_listed(differences)}.",
            state="The transaction was rolled back.",
            hint="Please report this, with the output of: snapkit backup --dry-run",
        )
    caution = Caution(
        "properties_incomplete",
        f"Your role may not set these properties of {final_name!r}: {_listed(differences)}. An administrator "
        f"can: {_refused_of(statements_for, refused, name, final_name)}",
    )
    return Given(lacking(wanted, found), (caution,))


def give_back(
    connection: Connection, entry: Entry, live_oid: int | None, *, oid: int, name: str, final_name: str, left: Left
) -> tuple[Caution, ...]:
    """Give what is to be live what its backup could not be given when it was made, from what is live now.

    ``oid`` and ``name`` are those of the database in this transaction, ``final_name`` is its name afterwards. What this
    role may not give either comes back as a caution, with the statements; what nobody knows any more by its name.
    """
    noted = entry.not_given
    if not noted:
        return ()
    recalled = _recalled(connection, noted, oid, live_oid)
    refused = run_permitted(connection, recalled.statements(name), left)
    still = recall(recalled.names, databases.read_properties(connection, oid), recalled.wanted)
    return _still_lacking(still, final_name, _refused_of(recalled.statements, refused, name, final_name))


def foretell_lack(connection: Connection, entry: Entry, live_oid: int | None, name: str) -> tuple[Caution, ...]:
    """Return what ``give_back`` would have to give, as a caution; nothing is changed."""
    if not entry.not_given:
        return ()
    recalled = _recalled(connection, entry.not_given, entry.database.oid, live_oid)
    return _still_lacking(recalled, name, _for_administrator(recalled.statements(name)))


def _recalled(connection: Connection, noted: Collection[str], oid: int, live_oid: int | None) -> Recalled:
    live = None if live_oid is None else databases.read_properties(connection, live_oid)
    return recall(noted, databases.read_properties(connection, oid), live)


def _still_lacking(recalled: Recalled, name: str, statements: str) -> tuple[Caution, ...]:
    if not recalled.names:
        return ()
    message = (
        f"{name!r} lacks these properties, which could not be set on its backup: {_few(recalled.names)}."
        + (f" An administrator can set them: {statements}" if statements else "")
        + (f" Only their name is known, because the displaced database lacks them, too: {_few(recalled.unknown)}."
           if recalled.unknown else "")
    )  # fmt: skip
    return (Caution("properties_incomplete", message),)


def _refused_of(
    statements_for: Callable[[str], tuple[Statement, ...]], refused: Collection[Statement], name: str, final_name: str
) -> str:
    """Return what was refused, as an administrator would type it once the database has its ``final_name``."""
    not_run = frozenset(refused)
    pairs = zip(statements_for(name), statements_for(final_name), strict=True)
    return _for_administrator(later for now, later in pairs if now in not_run)


def _for_administrator(statements: Iterable[Statement]) -> str:
    """In one transaction: who acts as another role does so to the end of one, and outside of it not at all."""
    texts = [sql_text(statement) for statement in statements]
    return "; ".join(("BEGIN", *texts, "COMMIT")) + ";" if texts else ""


_FEW = 20


def _few(names: Collection[str]) -> str:
    listed = "; ".join(list(names)[:_FEW])
    return listed if len(names) <= _FEW else f"{listed}; and {len(names) - _FEW} more"


def _listed(differences: Iterable[Difference]) -> str:
    return "; ".join(
        f"{each.name.replace('_', ' ')}: {each.wanted} expected, {each.found} found" for each in differences
    )
