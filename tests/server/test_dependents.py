"""What a backup keeps from being done: roles and tablespaces cannot be dropped, pg_upgrade refuses the server."""

from __future__ import annotations

import sys

import psycopg
import pytest

from snapkit.core.inventory.kinds import State
from tests.sandbox import Sandbox


def _granted(sandbox: Sandbox) -> str:
    """A role that owns a table of the source."""
    role = sandbox.role("leaver")
    with sandbox.connect() as connection:
        connection.execute(f"CREATE TABLE theirs (id int); ALTER TABLE theirs OWNER TO {role}")
    return role


def test_a_guard_says_that_its_backup_is_in_the_way_of_a_role(sandbox: Sandbox) -> None:
    role = _granted(sandbox)
    script = (
        "import psycopg\n"
        f"with psycopg.connect({sandbox.url!r}, autocommit=True) as c:\n"
        "    c.execute('DROP TABLE theirs')\n"
        f"    c.execute('DROP ROLE {role}')\n"
    )
    done = sandbox.run("guard", "--json", "--", sys.executable, "-c", script)
    assert done.code == 20, done
    (warning,) = [each for each in done.document["warnings"] if each["code"] == "backup_in_the_way"]
    assert f"the role '{role}'" in warning["message"]
    assert done.document["data"]["backup"]["name"] in warning["message"]


def test_a_failure_for_another_reason_is_not_laid_on_the_backup(sandbox: Sandbox) -> None:
    _granted(sandbox)
    done = sandbox.run("guard", "--json", "--", sys.executable, "-c", "raise SystemExit(3)")
    assert done.code == 20, done
    assert "backup_in_the_way" not in [each["code"] for each in done.document["warnings"]]


def test_doctor_names_roles_that_only_backups_need(sandbox: Sandbox) -> None:
    role = _granted(sandbox)
    sandbox.back_up()

    def checks() -> dict[str, dict[str, str]]:
        return {each["name"]: each for each in sandbox.run("doctor", "--json").document["data"]["checks"]}

    assert f"'{role}'" not in checks()["dependents"]["message"]
    with sandbox.connect() as connection:
        connection.execute("DROP TABLE theirs")
    assert f"'{role}'" in checks()["dependents"]["message"]
    assert "recover --open-for-upgrade" in checks()["upgrade"]["message"]
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        sandbox.execute(f"DROP ROLE {role}")


def test_entries_are_opened_for_an_upgrade_to_their_owner_alone_and_sealed_again(sandbox: Sandbox) -> None:
    first = sandbox.back_up(label="one").backup.name
    sandbox.back_up()
    sandbox.roll_back()
    names = [name for name in sandbox.databases() if name != sandbox.name]
    stranger = sandbox.role("stranger")
    done = sandbox.run("recover", "--open-for-upgrade", "--json")
    assert done.code == 0, done
    assert sorted(each["name"] for each in done.data["opened"]) == sorted(names)
    assert all(each["opened"] is not None for each in done.data["opened"])
    for name in names:
        assert sandbox.row(name)["datallowconn"]
        with sandbox.connect(name) as connection:
            assert connection.execute("SELECT count(*) FROM item").fetchone() == (100,)
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(sandbox.cluster.url(name, user=stranger))
    assert sandbox.run("recover", "--open-for-upgrade", "--json").data["opened"] != []
    done = sandbox.run("recover", "--json")
    assert sorted(each["name"] for each in done.data["sealed"]) == sorted(names)
    assert not any(sandbox.row(name)["datallowconn"] for name in names)
    assert [(entry.state, entry.opened) for entry in sandbox.entries()] == [(State.READY, None)] * len(names)
    assert sandbox.run("rollback", first).code == 0
