"""A copy of more tables than the server has room for locks is refused before anything is begun."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from snapkit.core.checks.facts import Status
from snapkit.errors import UsageError
from snapkit.services.doctor import diagnose
from tests.cluster import Cluster
from tests.sandbox import Sandbox
from tests.server.test_backup_online import online_backup

pytestmark = [pytest.mark.any_version, pytest.mark.usefixtures("client_programs")]
TABLES = "DO $$ BEGIN FOR n IN 1..{} LOOP EXECUTE format('CREATE TABLE t%s (a int)', n); END LOOP; END $$"


@pytest.fixture
def small(cluster: Cluster) -> Iterator[Sandbox]:
    """A source on a server with little room for locks."""
    own = Cluster(cluster.binaries)
    try:
        own.start(configuration="max_locks_per_transaction = 10\nmax_connections = 40\nmax_prepared_transactions = 0\n")
        with psycopg.connect(own.url("postgres"), autocommit=True) as admin:
            sandbox = Sandbox(own, admin, "own")
            sandbox.create()
            yield sandbox
    finally:
        own.remove()


def test_too_many_tables_are_refused_with_the_setting_to_raise(small: Sandbox) -> None:
    with small.connect() as connection:
        connection.execute(TABLES.replace("{}", "100").encode())
    online_backup(small)
    with small.connect() as connection:
        for first in range(101, 1500, 100):
            connection.execute(TABLES.replace("1..{}", f"{first}..{first + 99}").encode())
    checks = {check.name: check for check in diagnose(small.server()).checks}
    assert checks["locks"].status is Status.WARNING
    assert "locks 1501 tables" in checks["locks"].message
    assert "online (not possible: " in checks["method"].message
    with pytest.raises(UsageError, match="locks 1501 tables") as caught:
        online_backup(small)
    assert caught.value.hint is not None
    assert "max_locks_per_transaction to 101 or more (now 10)" in caught.value.hint
    assert caught.value.state == "Nothing was changed."
    assert len(small.databases()) == 2
    assert small.back_up().backup.name in small.databases()
