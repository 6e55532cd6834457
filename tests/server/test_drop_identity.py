"""A drop is of the database that was chosen, whatever bears its name by the time that it is sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from snapkit.core.inventory.retention import Policy
from snapkit.errors import BusyError, SnapkitError
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.label import pin_entry
from snapkit.services.prune import choose_by_name, choose_by_policy, remove
from tests.crash.stage import url_through
from tests.gate import Action, Gate, Link, Phase, Point
from tests.sandbox import LOCK_WAIT, Sandbox


def _delete_and_before_it(
    sandbox: Sandbox, name: str, act: Callable[[], object], *, at: str = " RENAME TO ", cut: bool = False
) -> None:
    """Delete an entry; do something just before the first statement that goes by its name, or that has ``at`` in it.

    With ``cut`` that is DROP, and the connection is lost there.
    """
    done = False

    def stops(point: Point) -> Phase | None:
        is_it = ("DROP DATABASE" if cut else at) in point.label
        return Phase.BEFORE if is_it and not done else None

    def on_stop(link: Link, point: Point) -> Action:
        nonlocal done
        done = True
        act()
        return Action.CUT if cut else Action.GO

    gate = Gate(sandbox.cluster.port, stops, on_stop)
    try:
        remove(sandbox.server(url_through(gate, sandbox.name)), choose_by_name([name], sandbox.name), LOCK_WAIT)
    finally:
        gate.close()
        assert done


def _rename(sandbox: Sandbox, name: str, new_name: str) -> None:
    sandbox.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new_name)))


@pytest.mark.promise("a drop is of the database that was chosen")
def test_a_strangers_database_that_takes_the_name_is_not_dropped(sandbox: Sandbox) -> None:
    name, stranger = sandbox.back_up().backup.name, f"{sandbox.prefix}_precious"
    sandbox.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(stranger)))
    oid = sandbox.row(stranger)["oid"]

    def swap_names() -> None:
        _rename(sandbox, name, f"{name}_elsewhere")
        _rename(sandbox, stranger, name)

    with pytest.raises(BusyError, match="Somebody has altered, renamed or replaced") as caught:
        _delete_and_before_it(sandbox, name, swap_names)
    assert caught.value.state == f"'{name}' was not dropped."
    assert sandbox.row(name)["oid"] == oid
    assert sandbox.databases() == [sandbox.name, f"{name}_elsewhere", name]


def test_what_was_pinned_meanwhile_is_not_dropped(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    row = sandbox.row(name)
    pinned = row["comment"].removesuffix("}") + ',"pinned":true}'

    def pin() -> None:  # by hand, and from another maintenance database: the source's lock does not keep that apart
        sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(pinned)))

    with pytest.raises(BusyError):
        _delete_and_before_it(sandbox, name, pin)
    assert sandbox.row(name) == row | {"comment": pinned}


def test_a_run_that_dies_in_between_leaves_what_the_next_one_sweeps(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    with pytest.raises(SnapkitError):
        _delete_and_before_it(sandbox, name, lambda: None, cut=True)
    (entry,) = sandbox.entries()
    assert (entry.state, entry.name == name) == ("invalid", False)
    assert sandbox.run("rollback", name).code == 2
    receipt = back_up(sandbox.server(), BackupRequest(), LOCK_WAIT, lambda progress: None)
    assert [each.code for each in receipt.cautions] == ["swept"]
    assert [each.name for each in sandbox.entries()] == [receipt.backup.name]


@pytest.mark.parametrize("rescue", ["RENAME TO {}", "ALLOW_CONNECTIONS true"])
def test_what_somebody_rescues_from_a_run_that_died_is_not_dropped(sandbox: Sandbox, rescue: str) -> None:
    other, name = sandbox.back_up().backup.name, sandbox.back_up().backup.name
    rescued = f"{sandbox.prefix}_rescued"
    with pytest.raises(SnapkitError):
        _delete_and_before_it(sandbox, name, lambda: None, cut=True)
    (passing,) = (each for each in sandbox.databases() if each not in (sandbox.name, other))
    change = sql.SQL(rescue).format(sql.Identifier(rescued))
    sandbox.execute(sql.SQL("ALTER DATABASE {} {}").format(sql.Identifier(passing), change))
    if "RENAME" not in rescue:
        rescued = passing
    assert sandbox.run("recover").code == 0
    assert sandbox.run("prune", "--keep", "1").code == 0
    assert sandbox.run("delete", name).code == 10
    assert rescued in sandbox.databases()
    assert sandbox.run("rollback", rescued).code == 2
    assert sandbox.run("adopt", rescued, "--json").data["entry"]["state"] == "ready"
    sandbox.ruin()
    assert sandbox.run("rollback", rescued).code == 0
    assert len(sandbox.items()) == 100


def test_what_died_in_between_is_deleted_by_its_former_name_or_pruned(sandbox: Sandbox) -> None:
    kept = sandbox.back_up().backup.name
    for finish in ("delete", "prune"):
        name = sandbox.back_up().backup.name
        with pytest.raises(SnapkitError):
            _delete_and_before_it(sandbox, name, lambda: None, cut=True)
        choose = (
            choose_by_name([name], sandbox.name)
            if finish == "delete"
            else choose_by_policy(Policy(last=2), sandbox.name)
        )
        assert len(remove(sandbox.server(), choose, LOCK_WAIT).removed) == 1
        assert [each.name for each in sandbox.entries()] == [kept]


def test_a_backup_that_was_marked_as_a_template_can_be_deleted(sandbox: Sandbox) -> None:
    name = sandbox.back_up().backup.name
    sandbox.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(name)))
    remove(sandbox.server(), choose_by_name([name], sandbox.name), LOCK_WAIT)
    assert sandbox.databases() == [sandbox.name]


def test_what_cannot_be_dropped_is_as_it_was(sandbox: Sandbox) -> None:
    """A subscription in an entry makes DROP fail, once that has its passing name."""
    name = sandbox.roll_back(sandbox.back_up().backup.name).displaced
    assert name is not None
    pin_entry(sandbox.server(), name.name, None, LOCK_WAIT)
    row = sandbox.row(name.name)
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name.name)))
    with sandbox.connect(name.name) as inside:
        inside.execute("CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)")
        inside.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
    with sandbox.admin.transaction():
        sandbox.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(name.name), sql.Literal(row["comment"].replace('"pinned":true', '"pinned":false'))
            )
        )
        sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name.name)))
    row = sandbox.row(name.name)
    try:
        with pytest.raises(SnapkitError, match="subscription") as caught:
            remove(sandbox.server(), choose_by_name([name.name], sandbox.name), LOCK_WAIT)
        assert caught.value.state == f"'{name.name}' was not dropped."
        assert sandbox.row(name.name) == row
        assert [each.state for each in sandbox.entries()] == ["ready"]
    finally:
        sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name.name)))
        with sandbox.connect(name.name) as inside:
            inside.execute("DROP SUBSCRIPTION s")


def test_what_was_altered_is_so_still_when_it_could_not_be_dropped(sandbox: Sandbox) -> None:
    """Its rows are written anew when it is given its name back, and agree then as if snapkit had sealed it."""
    name = sandbox.back_up().backup.name

    def alter(database: str, *, allow: bool) -> None:
        sandbox.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.Literal(allow))
        )

    def subscribe() -> None:
        (passing,) = (each for each in sandbox.databases() if each not in (sandbox.name, name))
        alter(passing, allow=True)
        with sandbox.connect(passing) as connection:
            connection.execute("CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)")
            connection.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        alter(passing, allow=False)

    alter(name, allow=True)
    with sandbox.connect(name) as connection:
        connection.execute("DELETE FROM item")
    alter(name, allow=False)
    (before,) = sandbox.entries()
    with pytest.raises(SnapkitError, match="subscription"):
        _delete_and_before_it(sandbox, name, subscribe, at="DROP DATABASE")
    (entry,) = sandbox.entries()
    alter(name, allow=True)
    with sandbox.connect(name) as connection:
        connection.execute("DROP SUBSCRIPTION s")
    assert before.altered is not None
    assert (entry.name, entry.state, entry.altered) == (name, "altered", before.altered)
