"""What a role has set for itself does not matter: neither what is read, nor what is written, nor what a copy holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from psycopg import sql

from snapkit.postgres.copying.programs import VARIABLE
from tests.cluster import PASSWORD
from tests.sandbox import Ran, Sandbox, run_snapkit
from tests.server.test_backup_online import opened

AWKWARD = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "<+0545>-05:45",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "array_nulls": "off",
    "xmloption": "document",
    "xmlbinary": "hex",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "escape_string_warning": "off",
    "transform_null_equals": "on",
    "client_encoding": "LATIN1",
    "search_path": "pg_temp, public",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "default_transaction_read_only": "on",
    "lock_timeout": "1ms",
    "statement_timeout": "500ms",
    "row_security": "off",
    "lc_monetary": "POSIX",
    "lc_numeric": "POSIX",
    "lc_time": "POSIX",
}
ROWS = """
CREATE TABLE kept (id int PRIMARY KEY, words text[], numbers int[], f float8, r real, at timestamptz, day date,
    span interval, raw bytea, price money, note text, CHECK (note <> 'x\\'), "select" text);
INSERT INTO kept VALUES (1, '{a,NULL,"NULL",b\\\\}', '{1,NULL,3}', 0.1::float8 + 0.2, 1.1::real / 3,
    '2024-03-04 05:06:07.891+00', '2024-03-04', '1 year -2 days 03:04:05', '\\x00ff5c27', 12.34,
    'it''s \\ ü', NULL);
INSERT INTO kept SELECT n, ARRAY[NULL, n::text, 'NULL'], ARRAY[n, NULL], 1.0 / n, 1.0 / n,
    '2024-03-04'::timestamptz + n * interval '1 h', '2024-03-04', n * interval '1 min -1 day',
    decode(md5(n::text), 'hex'), n, repeat('\\', 20), 'ü' FROM generate_series(2, 20000) AS n;
CREATE VIEW seen AS SELECT id, "select", at > '2024-05-06 00:00:00+00' AS late FROM kept WHERE day > '2024-02-03';
"""


def _with(box: Sandbox, role: str) -> str:
    for name, value in AWKWARD.items():
        setting = sql.SQL("ALTER ROLE {} SET {} TO {}")
        values = sql.SQL(", ").join(map(sql.Literal, value.split(", ") if name == "search_path" else [value]))
        box.execute(setting.format(sql.Identifier(role), sql.Identifier(name), values))
    user, password, name = (quote(each, safe="") for each in (role, PASSWORD, box.name))
    return f"postgresql://{user}:{password}@127.0.0.1:{box.cluster.port}/{name}"


def _rows(box: Sandbox, name: str | None = None) -> Any:
    with box.connect(name) as connection:
        texts = "SELECT md5(string_agg(t::text, ' ' ORDER BY id)), pg_get_viewdef('seen') FROM kept AS t"
        return connection.execute(texts).fetchall()


@pytest.fixture(params=["LOGIN CREATEDB", "LOGIN SUPERUSER"])
def url(sandbox: Sandbox, request: pytest.FixtureRequest) -> str:
    """The URL by which a role whose settings are all awkward reaches a database of its own."""
    role = sandbox.role("awkward", f"{request.param} PASSWORD '{PASSWORD}'")
    name, owner = sql.Identifier(sandbox.name), sql.Identifier(role)
    sandbox.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, owner))
    with sandbox.connect() as connection:
        if sandbox.version >= 15:  # before, everybody may
            connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(owner))
        connection.execute(sql.SQL("ALTER TABLE item OWNER TO {}").format(owner))
        connection.execute(sql.SQL("SET ROLE {}").format(owner))
        connection.execute(ROWS.encode())
    return _with(sandbox, role)


def test_every_command_works_for_a_role_whose_settings_are_awkward(
    sandbox: Sandbox, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{sandbox.cluster.binaries}{os.pathsep}{os.environ['PATH']}")
    note = 'it\'s \\ "odd" ü'
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(sandbox.name), sql.Literal(note)))
    sandbox.execute(sql.SQL("ALTER DATABASE {} SET \"a.b\" TO 'c''\\d'").format(sql.Identifier(sandbox.name)))

    def run(*words: str) -> Ran:
        ran = run_snapkit(*words, url=url)
        assert ran.code == 0, (words, ran.out, ran.err)
        assert not ran.err or "unknown" not in ran.err, ran.err
        return ran

    before = _rows(sandbox)
    name = run("backup", "--json", "--label", note).data["backup"]["name"]
    run("backup", "--dry-run")
    looking: list[tuple[str, ...]] = [("list", "--sizes", "--all"), ("show", name), ("status",), ("doctor",)]
    for words in (*looking, ("recover",), ("pin", name, "--reason", note), ("unpin", name), ("label", name, note)):
        run(*words)
    assert run("show", name, "--json").data["entry"]["label"] == note
    run("shell", name, "--", "psql", "-XAtc", "select 1")
    sandbox.ruin()
    run("rollback", name, "--dry-run")
    script = tmp_path / "back.sql"
    script.write_text(run("rollback", name, "--sql").out)
    run("rollback", name, "--keep-backup", "--yes")
    assert sandbox.items()[-1] == (100, "item 100")
    run("undo", "--yes")
    run("rollback", name, "--yes")
    assert (_rows(sandbox), sandbox.row(sandbox.name)["comment"]) == (before, note)
    run("guard", "--keep", "1", "--", "true")
    run("backup")
    run("prune", "--keep", "1", "--keep-old", "0", "--yes")
    (left,) = run("list", "--json").data["entries"]
    run("delete", left["name"], "--yes")


def test_the_script_for_psql_means_the_same_whatever_the_role_has_set(sandbox: Sandbox, url: str) -> None:
    note = "it's \\ odd\\' ü"
    sandbox.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(sandbox.name), sql.Literal(note)))
    run_snapkit("backup", url=url)
    sandbox.ruin()
    script = run_snapkit("rollback", "--latest", "--sql", url=url)
    assert script.code == 0, script.err
    file = sandbox.cluster.root / f"{sandbox.prefix}.sql"
    file.write_text(script.out)
    maintenance = url.rpartition("/")[0] + "/postgres"
    sandbox.cluster.run("psql", "-Xq", "-d", maintenance, "-f", str(file))
    assert sandbox.items()[-1] == (100, "item 100")
    assert sandbox.row(sandbox.name)["comment"] == note


@pytest.mark.usefixtures("client_programs")
@pytest.mark.parametrize("place", ["role", "database"])
def test_a_copy_made_online_holds_what_its_source_does(
    sandbox: Sandbox, url: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "database":
        for name in ("array_nulls", "bytea_output", "quote_all_identifiers", "DateStyle", "extra_float_digits"):
            alter = sql.SQL("ALTER DATABASE {} SET {} TO {}")
            parts = (sql.Identifier(sandbox.name), sql.Identifier(name), sql.Literal(AWKWARD[name]))
            sandbox.execute(alter.format(*parts))
    with sandbox.connect() as connection:  # once by COPY of ours, once by pg_dump
        connection.execute("CREATE TABLE small AS SELECT * FROM kept WHERE id < 100")
        connection.execute("ALTER TABLE small OWNER TO current_user")
        owner = sandbox.row(sandbox.name)["owner"]
        connection.execute(f"ALTER TABLE small OWNER TO {owner}")
    words = ("backup", "--strategy", "online", "--json")
    programs = {VARIABLE: os.environ[VARIABLE]}
    ran = run_snapkit(*words, url=url, LC_ALL="de_DE.UTF-8", PGCLIENTENCODING="LATIN1", cwd=None, **programs)
    assert ran.code == 0, ran.out
    copy = opened(sandbox, ran.data["backup"]["name"])
    assert _rows(sandbox, copy) == _rows(sandbox)
    small = "SELECT string_agg(t::text, ' ' ORDER BY id) FROM small AS t"
    with sandbox.connect() as source, sandbox.connect(copy) as copied:
        assert source.execute(small).fetchall() == copied.execute(small).fetchall()
