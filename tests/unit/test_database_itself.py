"""What is defined of a database as a whole."""

from __future__ import annotations

from dataclasses import replace

from snapkit.core.comparison.schema.database_itself import DatabaseItself, definitions_of
from snapkit.core.comparison.schema.schema_changes import schema_changes

PLAIN = DatabaseItself("app", None, -1)
FULL = DatabaseItself(
    owner="app",
    comment="it's mine",
    connection_limit=5,
    settings=frozenset({("", "work_mem", "5MB"), ("app", "jit", "off"), ("", "app.token", "sesame")}),
    privileges=frozenset({"GRANT CREATE ON DATABASE TO x;", "REVOKE CONNECT ON DATABASE FROM PUBLIC;"}),
    labels=frozenset({("p", "l")}),
)


def changes(before: DatabaseItself, after: DatabaseItself) -> dict[str, tuple[str | None, str | None]]:
    found = schema_changes(definitions_of(before), definitions_of(after), related=True)
    return {f"{each.object} {each.name}": (each.before, each.after) for each in found}


def test_each_property_is_told_by_itself() -> None:
    assert changes(PLAIN, PLAIN) == changes(FULL, FULL) == {}
    assert changes(PLAIN, FULL) == {
        "setting app.token": (None, "SET app.token TO ***"),
        "setting connection limit": (None, "CONNECTION LIMIT 5"),
        "setting jit for role app": (None, "SET jit TO 'off' FOR ROLE app"),
        "setting work_mem": (None, "SET work_mem TO '5MB'"),
        "privilege database": (None, "GRANT CREATE ON DATABASE TO x;\nREVOKE CONNECT ON DATABASE FROM PUBLIC;"),
        "comment database": (None, "COMMENT ON DATABASE IS 'it''s mine';"),
        "security label database p": (None, "SECURITY LABEL FOR p IS 'l';"),
    }
    assert changes(PLAIN, replace(PLAIN, owner="x")) == {
        "owner database": ("ALTER DATABASE OWNER TO app;", "ALTER DATABASE OWNER TO x;")
    }


def test_a_value_that_may_be_secret_is_compared_and_not_shown() -> None:
    settings = frozenset({("", "app.token", "open"), *FULL.settings} - {("", "app.token", "sesame")})
    assert changes(FULL, replace(FULL, settings=settings)) == {
        "setting app.token": ("SET app.token TO ***", "SET app.token TO ***")
    }
