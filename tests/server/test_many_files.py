"""A database of thousands of small files: a clone of it takes long, which is foretold, noted, and acted upon."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from snapkit.core.checks.facts import Status
from snapkit.core.copying import estimates
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.outage.hold_rules import HoldRules
from snapkit.errors import OutageLimitError
from snapkit.services.backup import BackupRequest, preview_backup
from snapkit.services.copying.decision import Choice
from snapkit.services.doctor import diagnose
from tests.cluster import Cluster
from tests.sandbox import Sandbox

pytestmark = pytest.mark.any_version
SECOND = timedelta(seconds=1)
TABLES, INDEXES = 500, 15
MAKE = f"""
DO $$ BEGIN
  FOR n IN 1..{TABLES} LOOP
    EXECUTE format('CREATE TABLE small%s (id int PRIMARY KEY, note text)', n);
    FOR i IN 2..{INDEXES} LOOP EXECUTE format('CREATE INDEX ON small%s (id)', n); END LOOP;
    IF n % 20 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$
"""
MADE = TABLES * (INDEXES + 3)
"""A table, its TOAST table with an index, and the indexes."""


@pytest.fixture(scope="module")
def many(cluster: Cluster) -> Iterator[tuple[Sandbox, str]]:
    """A source of many files, on a server with room for its locks, and the URL of its owner, who is nobody special."""
    own = Cluster(cluster.binaries)
    try:
        own.start(configuration="max_locks_per_transaction = 500\nautovacuum = off\n")
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            sandbox = Sandbox(own, admin, "many")
            sandbox.create()
            role = sandbox.role("owner", "LOGIN CREATEDB")
            sandbox.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*map(sql.Identifier, (sandbox.name, role))))
            with psycopg.connect(own.url(sandbox.name, user=role), autocommit=True) as connection:
                connection.execute(MAKE.encode())
            yield sandbox, own.url(sandbox.name, user=role)
    finally:
        own.remove()


@pytest.fixture
def unmeasured(many: tuple[Sandbox, str]) -> Iterator[tuple[Sandbox, str]]:
    """The same without a backup."""
    sandbox, url = many
    yield sandbox, url
    made = [entry.name for entry in sandbox.entries()]
    assert not made or sandbox.run("delete", *made, "--yes").code == 0
    assert sandbox.databases() == [sandbox.name]


@pytest.mark.parametrize("strategy", [None, Strategy.FILE_COPY])
def test_before_a_first_backup_its_owner_learns_how_long_clients_would_be_held(
    unmeasured: tuple[Sandbox, str], strategy: Strategy | None
) -> None:
    sandbox, url = unmeasured
    preview = preview_backup(sandbox.server(url), BackupRequest(strategy=strategy))
    assert preview.forecast is not None
    assert preview.forecast.at_least
    assert preview.forecast.duration >= MADE * timedelta(milliseconds=0.15)
    assert [caution.code for caution in preview.cautions] == ["many_files"]
    ran = sandbox.run("backup", "--dry-run", url=url)
    assert "Going by the number and the size of its files, clients would be held for " in ran.out
    said = sandbox.run("backup", "--dry-run", "--json", url=url).document
    assert (said["data"]["holds_clients"], said["data"]["expected_at_least"]) == (True, True)
    assert said["data"]["expected_outage_ms"] >= int(MADE * 0.15)
    assert [caution["code"] for caution in said["warnings"]] == ["many_files"]
    checks = {check.name: check for check in diagnose(sandbox.server(url)).checks}
    assert checks["files"].status is Status.WARNING
    assert "or more, as estimated from the number and size of its files" in checks["method"].message


@pytest.mark.usefixtures("client_programs")
def test_nobody_is_held_for_a_clone_that_would_take_longer_than_it_may(unmeasured: tuple[Sandbox, str]) -> None:
    sandbox, url = unmeasured
    limited = HoldRules(limit=SECOND)
    with psycopg.connect(url) as client:
        with pytest.raises(OutageLimitError, match="Going by the number and the size of its files") as caught:
            sandbox.back_up(strategy=Strategy.FILE_COPY, hold=limited)
        assert caught.value.state == "Nothing was changed."
        assert "allow more time once" in str(caught.value.hint)
        assert not caught.value.is_passing
        receipt = sandbox.back_up(hold=limited)
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert (receipt.backup.strategy, receipt.choice) == (Strategy.ONLINE, Choice.OUTAGE_EXPECTED)
    assert receipt.outage == timedelta(0)
    assert not receipt.disconnected
    assert [caution.code for caution in receipt.cautions] == []


def test_what_a_clone_took_is_noted_with_its_files_and_goes_for_the_next(
    unmeasured: tuple[Sandbox, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox, url = unmeasured
    monkeypatch.setattr(estimates, "_LONG", timedelta(0))  # however fast the disk is here
    first = sandbox.back_up()
    assert [caution.code for caution in first.cautions] == ["many_files"]
    metadata = first.backup.metadata
    assert metadata is not None
    assert metadata.clone_files is not None
    directory = sandbox.cluster.data / "base" / str(first.source_oid)
    there = sum(1 for _ in directory.iterdir())
    assert MADE < metadata.clone_files <= there <= metadata.clone_files * 1.02
    preview = preview_backup(sandbox.server(url), BackupRequest())
    assert preview.forecast is not None
    assert (preview.forecast.at_least, preview.forecast.is_own, preview.cautions) == (False, True, ())
    assert preview.forecast.duration / first.copy.duration == pytest.approx(1, rel=0.05)
    assert sandbox.back_up().cautions == ()


def test_where_nobody_gets_in_to_count_them_nothing_is_foretold(unmeasured: tuple[Sandbox, str]) -> None:
    sandbox, _ = unmeasured
    closed = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    name = sql.Identifier(sandbox.name)
    sandbox.execute(closed.format(name, sql.SQL("false")))
    try:
        preview = preview_backup(sandbox.server(), BackupRequest())
        metadata = sandbox.back_up().backup.metadata
    finally:
        sandbox.execute(closed.format(name, sql.SQL("true")))
    assert (preview.is_held, preview.forecast, preview.cautions) == (True, None, ())
    assert metadata is not None
    assert (metadata.clone_files, metadata.clone_bytes is None) == (None, False)
