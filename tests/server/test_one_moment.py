"""A backup is one moment in all its parts, whatever others do to its source meanwhile; or it does not become one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.core.plans.identity import AlteredMeanwhileError
from snapkit.core.plans.statements import CreateDatabase, Statement
from snapkit.errors import BusyError, SnapkitError
from snapkit.postgres.connection.driver import driver_connection
from snapkit.postgres.copying import gate
from snapkit.postgres.copying.moment import read_moment
from snapkit.postgres.sql import execution
from snapkit.postgres.sql.entry_locks import Use, take_entry
from snapkit.services.backup import BackupRequest, back_up
from snapkit.services.copying import clone
from snapkit.services.copying.online import run as online
from snapkit.services.outage.clients import Clients
from tests.sandbox import LOCK_WAIT, Sandbox, wait_until
from tests.server.test_holding import door_is_held

RULES = HoldRules(grace=timedelta(seconds=3))


class Backup:
    """A backup that runs in a thread of its own."""

    def __init__(self, sandbox: Sandbox, url: str | None = None, **request: Any) -> None:
        self._server = sandbox.server(url)
        self._request = BackupRequest(**request)
        self.receipt: Any = None
        self.error: SnapkitError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.receipt = back_up(self._server, self._request, LOCK_WAIT, lambda progress: None)
        except SnapkitError as error:
            self.error = error

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the backup has not ended"

    @property
    def name(self) -> str:
        self.end()
        assert self.error is None, self.error
        return str(self.receipt.backup.name)


@contextmanager
def while_the_grace_is_held_open(sandbox: Sandbox, url: str | None = None) -> Iterator[Backup]:
    """Begin a backup; in the block its door is closed, and a transaction inside has not ended yet."""
    with psycopg.connect(url or sandbox.url) as connection:
        connection.execute("INSERT INTO item VALUES (4711, 'late')")
        backup = Backup(sandbox, url, clients=Clients(RULES))
        wait_until(lambda: door_is_held(sandbox) or backup.error is not None)
        yield backup
        connection.commit()


def in_the_server(sandbox: Sandbox, *statements: str) -> None:
    for statement in statements:
        sandbox.execute(sql.SQL(statement).format(shop=sql.Identifier(sandbox.name)))


def settings_of(sandbox: Sandbox, name: str) -> list[tuple[Any, ...]]:
    return sandbox.execute(
        "SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting AS s JOIN pg_database AS d"
        " ON d.oid = setdatabase WHERE datname = %s ORDER BY 1",
        name,
    )


WITH_A_GATE = pytest.mark.parametrize("entries", [1, 0], ids=["with a gate", "without a gate"])


@WITH_A_GATE
@pytest.mark.parametrize(
    "is_superuser",
    [True, pytest.param(False, marks=pytest.mark.promise("a backup has the privileges of the moment of its rows"))],
)
def test_a_backup_has_the_privileges_and_settings_of_the_moment_of_its_rows(
    sandbox: Sandbox, entries: int, is_superuser: bool
) -> None:
    url = None
    if not is_superuser:
        owner = sandbox.role("owner", "LOGIN CREATEDB")
        in_the_server(sandbox, f"ALTER DATABASE {{shop}} OWNER TO {owner}")
        with sandbox.connect() as connection:
            connection.execute(f"ALTER TABLE item OWNER TO {owner}")
        url = sandbox.cluster.url(sandbox.name, user=owner)
    for _ in range(entries):
        back_up(sandbox.server(url), BackupRequest(), LOCK_WAIT, lambda progress: None)
    with while_the_grace_is_held_open(sandbox, url) as backup:
        in_the_server(
            sandbox,
            "REVOKE CONNECT, TEMPORARY ON DATABASE {shop} FROM PUBLIC",
            "ALTER DATABASE {shop} SET work_mem TO '7MB'",
            "ALTER DATABASE {shop} CONNECTION LIMIT 50",
        )
    name = backup.name
    row, live = sandbox.row(name), sandbox.row(sandbox.name)
    assert (row["acl"], row["datconnlimit"]) == (live["acl"], 50)
    assert settings_of(sandbox, name) == settings_of(sandbox, sandbox.name) != []
    sandbox.roll_back(name)
    assert (4711, "late") in sandbox.items()
    assert sandbox.row(sandbox.name)["acl"] == live["acl"]


@WITH_A_GATE
def test_a_source_that_gets_another_owner_meanwhile_has_a_backup_that_list_knows(
    sandbox: Sandbox, entries: int
) -> None:
    before, after = sandbox.role("before"), sandbox.role("after")
    in_the_server(sandbox, f"ALTER DATABASE {{shop}} OWNER TO {before}")
    for _ in range(entries):
        sandbox.back_up()
    with while_the_grace_is_held_open(sandbox) as backup:
        in_the_server(sandbox, f"ALTER DATABASE {{shop}} OWNER TO {after}")
    assert sandbox.row(backup.name)["owner"] == after
    assert backup.name in [entry.name for entry in sandbox.entries()]


@WITH_A_GATE
def test_a_source_that_gives_its_name_away_meanwhile_is_not_backed_up(sandbox: Sandbox, entries: int) -> None:
    for _ in range(entries):
        sandbox.back_up()
    there = set(sandbox.databases())
    blue, green = f"{sandbox.prefix}_blue", f"{sandbox.prefix}_green"
    in_the_server(sandbox, f"CREATE DATABASE {green}")

    def swap_names() -> None:
        in_the_server(
            sandbox, f"ALTER DATABASE {{shop}} RENAME TO {blue}", f"ALTER DATABASE {green} RENAME TO {{shop}}"
        )

    with just_before_the_clone(swap_names):
        backup = Backup(sandbox)
        backup.end()
    assert isinstance(backup.error, BusyError), backup.receipt
    assert "no longer the same database" in backup.error.message
    assert set(sandbox.databases()) == there | {blue}
    assert sandbox.items(blue) != []


@contextmanager
def just_before_the_clone(meanwhile: Callable[[], None]) -> Iterator[None]:
    """Do something once, when all is ready and CREATE DATABASE is about to be sent."""
    original, done = execution.run, list[bool]()

    def run(connection: Any, *statements: Statement, **options: Any) -> None:
        if not done and any(isinstance(each, CreateDatabase) for each in statements):
            done.append(True)
            meanwhile()
        original(connection, *statements, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clone, "run", run)
        yield
    assert done


@pytest.mark.parametrize("change", ["ALTER ROLE {0} RENAME TO {0}_now", "DROP OWNED BY {0}; DROP ROLE {0}"])
def test_a_role_that_is_renamed_or_dropped_meanwhile_does_not_cost_the_clone(sandbox: Sandbox, change: str) -> None:
    sandbox.back_up()
    role = f"{sandbox.prefix}_reader"
    in_the_server(
        sandbox,
        f"CREATE ROLE {role}",
        f"GRANT CONNECT ON DATABASE {{shop}} TO {role}",
        f"ALTER ROLE {role} IN DATABASE {{shop}} SET work_mem TO '3MB'",
    )
    made: list[int] = []

    def then(*arguments: Any, **options: Any) -> Any:
        cloned = original(*arguments, **options)
        made.append(cloned.oid)
        in_the_server(sandbox, *change.format(role).split("; "))
        return cloned

    original = clone.make_clone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snapkit.services.copying.copy.make_clone", then)
        backup = Backup(sandbox)
        name = backup.name
    row = sandbox.row(name)
    assert made == [row["oid"]]
    if "RENAME" in change:
        assert settings_of(sandbox, name) == [(f"{role}_now", ["work_mem=3MB"])]
        assert row["acl"] == sandbox.row(sandbox.name)["acl"]
        for database in sandbox.databases():
            sandbox.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM {}").format(*map(sql.Identifier, (database, f"{role}_now")))
            )
        sandbox.execute(f"DROP ROLE {role}_now")
    else:
        assert settings_of(sandbox, name) == []


def test_what_lends_itself_for_the_gate_keeps_its_name_and_is_left_alone_while_it_is_in_use(sandbox: Sandbox) -> None:
    lent: list[bool] = []
    original = gate.Gate.shut

    def shut(self: gate.Gate, lenders: Any, name: str) -> None:
        original(self, lenders, name)
        lent.append(self.is_shut)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate.Gate, "shut", shut)
        first = sandbox.back_up().backup
        with sandbox.server().connect() as keeper:
            assert take_entry(keeper, first.database.oid, Use.GUARD)
            second = sandbox.back_up().backup
        third = sandbox.back_up().backup
    assert lent == [False, False, True]
    assert {entry.name for entry in sandbox.entries()} == {first.name, second.name, third.name}


def test_a_source_that_gave_its_name_away_unseen_is_not_backed_up_either(sandbox: Sandbox) -> None:
    blue, green = f"{sandbox.prefix}_blue", f"{sandbox.prefix}_green"
    in_the_server(sandbox, f"CREATE DATABASE {green}")

    def swap_names() -> None:
        in_the_server(
            sandbox, f"ALTER DATABASE {{shop}} RENAME TO {blue}", f"ALTER DATABASE {green} RENAME TO {{shop}}"
        )

    with just_before_the_clone(swap_names), pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate.GateKeeper, "_watch", lambda keeper: None)  # as where the copying is over too soon
        with pytest.raises(BusyError, match="no longer the same database"):
            sandbox.back_up()
    assert set(sandbox.databases()) == {blue, sandbox.name}


def test_a_source_that_is_altered_again_and_again_is_given_up_and_nothing_is_left(sandbox: Sandbox) -> None:
    owners = [sandbox.role("first"), sandbox.role("second")]
    there = sandbox.databases()
    changes: list[str] = []

    def another_owner(*arguments: Any, **options: Any) -> Any:
        changes.append(owners[len(changes) % 2])
        in_the_server(sandbox, f"ALTER DATABASE {{shop}} OWNER TO {changes[-1]}")
        return original(*arguments, **options)

    original = clone.make_clone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snapkit.services.copying.copy.make_clone", another_owner)
        with pytest.raises(AlteredMeanwhileError, match="Somebody has changed"):
            sandbox.back_up()
    assert len(changes) == 3
    assert sandbox.databases() == there


@WITH_A_GATE
def test_what_was_altered_while_it_was_copied_unseen_is_copied_anew(sandbox: Sandbox, entries: int) -> None:
    """The session that reads at the gate is ended; so the template is compared, row version by row version."""
    for _ in range(entries):
        sandbox.back_up()
    made: list[int] = []

    class Lost(gate.GateKeeper):
        def _watch(self) -> None:
            if not made:
                in_the_server(sandbox, "ALTER DATABASE {shop} CONNECTION LIMIT 50")
            made.append(self._gate.pid)
            sandbox.execute("SELECT pg_terminate_backend(%s)", self._gate.pid)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "GateKeeper", Lost)
        name = sandbox.back_up().backup.name
    assert len(made) == 2, "the first was thrown away, the second had nothing to be compared with"
    assert sandbox.row(name)["datconnlimit"] == 50
    assert not [each for each in sandbox.databases() if "_partial_" in each]
    assert len(sandbox.entries()) == entries + 1


def test_a_gate_whose_session_has_fallen_silent_is_opened_by_another(sandbox: Sandbox) -> None:
    sandbox.back_up()

    class Silent(gate.GateKeeper):
        def _watch(self) -> None:
            assert self._gate.is_shut
            driver = driver_connection(self._gate.session)
            driver.execute("SELECT 1")
            driver.pgconn.finish()  # as when no answer comes
            super()._watch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "GateKeeper", Silent)
        sandbox.back_up()
    assert len(sandbox.entries()) == 2


@pytest.mark.promise("an online backup is of one moment")
@pytest.mark.usefixtures("client_programs")
def test_a_copy_made_while_clients_work_has_the_privileges_and_settings_of_its_snapshot(sandbox: Sandbox) -> None:
    def then(connection: Any, oid: int, state: str) -> Any:
        """Change something when the snapshot has been taken, and is about to be read by."""
        if connection.engine is not sandbox.server()._engine:
            in_the_server(sandbox, "ALTER DATABASE {shop} CONNECTION LIMIT 60", "ALTER DATABASE {shop} RESET work_mem")
        return read_moment(connection, oid, state)

    in_the_server(sandbox, "ALTER DATABASE {shop} CONNECTION LIMIT 40")

    def at_first(*arguments: Any, **options: Any) -> Any:
        """Change something when it has been planned, before the snapshot is taken."""
        in_the_server(
            sandbox, "ALTER DATABASE {shop} CONNECTION LIMIT 50", "ALTER DATABASE {shop} SET work_mem TO '7MB'"
        )
        return copy(*arguments, **options)

    copy = online.copy_online
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snapkit.services.copying.online.run.copy_online", at_first)
        patch.setattr("snapkit.services.copying.online.read.read_moment", then)
        name = sandbox.back_up(strategy=Strategy.ONLINE).backup.name
    assert sandbox.row(name)["datconnlimit"] == 50
    assert settings_of(sandbox, name) == [("-", ["work_mem=7MB"])]
    assert sandbox.row(sandbox.name)["datconnlimit"] == 60


def test_an_owner_that_changes_while_it_is_copied_is_followed(sandbox: Sandbox) -> None:
    after = sandbox.role("after")
    original = clone.make_clone

    def then(*arguments: Any, **options: Any) -> Any:
        cloned = original(*arguments, **options)
        in_the_server(sandbox, f"ALTER DATABASE {{shop}} OWNER TO {after}")
        return cloned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("snapkit.services.copying.copy.make_clone", then)
        receipt = sandbox.back_up()
    assert [caution.code for caution in receipt.cautions] == ["owner_changed"]
    assert sandbox.row(receipt.backup.name)["owner"] == after
    assert [entry.name for entry in sandbox.entries()] == [receipt.backup.name]
    sandbox.roll_back()
    assert sandbox.row(sandbox.name)["owner"] == after


def test_a_role_that_is_renamed_while_a_kept_backup_is_cloned_does_not_cost_the_rollback(sandbox: Sandbox) -> None:
    role = sandbox.role("reader")
    in_the_server(sandbox, f"ALTER ROLE {role} IN DATABASE {{shop}} SET work_mem TO '3MB'")
    sandbox.back_up()
    original = clone.make_clone

    def then(*arguments: Any, **options: Any) -> Any:
        cloned = original(*arguments, **options)
        in_the_server(sandbox, f"ALTER ROLE {role} RENAME TO {role}_now")
        return cloned

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("snapkit.services.entries.kept_clone.make_clone", then)
            sandbox.roll_back(keep_backup=True)
        assert settings_of(sandbox, sandbox.name) == [(f"{role}_now", ["work_mem=3MB"])]
    finally:
        in_the_server(sandbox, f"ALTER ROLE {role}_now RENAME TO {role}")
