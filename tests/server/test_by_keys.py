"""Rows compared by key or by whole value, and what comes out told by row: against the truth, found the slow way."""

from __future__ import annotations

from tests.sandbox import Sandbox
from tests.server.comparing import truth, two_databases


def test_what_was_inserted_updated_and_deleted(sandbox: Sandbox) -> None:
    with two_databases(sandbox) as both:
        both.run(
            both.after,
            "DELETE FROM item WHERE id % 10 = 0",
            "UPDATE item SET name = 'new' WHERE id % 7 = 0",
            "UPDATE item SET name = name WHERE id % 3 = 0",
            "INSERT INTO item VALUES (1000, NULL)",
            "VACUUM FULL item",
        )
        found = both.compared("item")
        assert found.rows == truth(both, "public.item", ["id", "name"], ["id"])
        assert (found.counts.inserted, found.counts.updated, found.counts.deleted) == (1, 13, 10)
        assert found.method == "keys"
