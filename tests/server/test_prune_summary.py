"""A prune that cannot drop all: one summary that is true, each reason once, and the dry run promises the same."""

from __future__ import annotations

from datetime import timedelta

from psycopg import sql

from snapkit.core.inventory.retention import Policy
from snapkit.postgres.sql.locks import source_lock
from snapkit.services.prune import choose_by_policy, preview_removal, remove
from tests.sandbox import LOCK_WAIT, Sandbox


def _with_one_of_another_owner(sandbox: Sandbox) -> tuple[str, list[str], list[str]]:
    """Return the URL of an ordinary owner, of whose two backups one is to go, and those of a source that is not his."""
    owner, other = sandbox.role("owner", "LOGIN CREATEDB"), sandbox.role("other", "LOGIN CREATEDB")
    sandbox.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(*map(sql.Identifier, (sandbox.name, owner))))
    names = [sandbox.back_up().backup.name for _ in range(2)]
    another = f"{sandbox.prefix}_theirs"
    sandbox.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (another, other))))
    theirs = [str(sandbox.run("backup", "-q", url=sandbox.cluster.url(another)).out.strip()) for _ in range(3)]
    return sandbox.cluster.url(sandbox.name, user=owner), names, theirs


def test_the_summary_tells_what_was_dropped_and_what_was_not(sandbox: Sandbox) -> None:
    url, names, theirs = _with_one_of_another_owner(sandbox)
    promised = sandbox.run("prune", "--all", "--keep", "1", "--dry-run", url=url)
    said = " ".join(promised.out.split())
    assert "1 database to drop" in said
    assert "; 2 cannot be dropped now:" in said
    assert said.count("This takes the rights of the owner") == 1
    assert f"2 would not be dropped for this reason: {theirs[1]}, {theirs[0]}." in said
    document = sandbox.run("prune", "--all", "--keep", "1", "--dry-run", "--json", url=url).data
    assert [each["name"] for each in document["removed"]] == [names[0]]
    assert {each["entry"]["name"] for each in document["failed"]} == set(theirs[:2])
    assert all("would not be dropped" in each["error"]["message"] for each in document["failed"])
    assert len(document["plan"]) == 1
    ran = sandbox.run("prune", "--all", "--keep", "1", url=url)
    assert ran.code == 3
    assert "1 database dropped" in ran.out
    assert "; 2 not dropped." in ran.out
    assert "Nothing was changed" not in ran.out + ran.err
    assert ran.err.count("This takes the rights of the owner") == 1
    assert f"2 were not dropped for this reason: {theirs[1]}, {theirs[0]}." in ran.err
    assert f"Connect as {sandbox.prefix}_other. Or ask an administrator to run: GRANT " in ran.err
    assert sandbox.databases() == [sandbox.name, names[1], f"{sandbox.prefix}_theirs", *theirs]


def test_what_holds_up_several_is_said_once(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(3)]
    with sandbox.server().connect() as another, source_lock(another, sandbox.name, timedelta(0)):
        ran = sandbox.run("prune", "--keep", "1", "--lock-wait", "0s")
        assert ran.code == 3
        assert ran.err.count("Another run of snapkit is working") == 1
        assert "0 databases dropped" in ran.out
        assert "2 not dropped." in ran.out
        assert f"2 were not dropped for this reason: {names[1]}, {names[0]}." in " ".join(ran.err.split())


def test_what_was_shown_and_is_free_by_then_is_dropped(sandbox: Sandbox) -> None:
    names = [sandbox.back_up().backup.name for _ in range(2)]
    choose = choose_by_policy(Policy(last=1), sandbox.name)
    sandbox.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(names[0])))
    with sandbox.connect(names[0]):
        preview = preview_removal(sandbox.server(), choose)
        assert [failure.entry.name for failure in preview.failed] == [names[0]]
    removal = remove(sandbox.server(), choose, LOCK_WAIT, confirmed=preview)
    assert ([entry.name for entry in removal.removed], removal.as_confirmed) == ([names[0]], True)
