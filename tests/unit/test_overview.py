"""What there is in two related databases, and what of it differs."""

from __future__ import annotations

from snapkit.core.comparison.schema.overview import Overview, narrowed
from snapkit.core.comparison.schema.said_of_objects import Granted, Remark

READ = Granted("t.1.0", "TABLE x", "GRANT", "SELECT", "TO a")
WRITE = Granted("t.1.0", "TABLE x", "GRANT", "INSERT", "TO b")
OTHER = Granted("t.2.0", "TABLE y", "GRANT", "INSERT", "TO b")
USUAL = Granted("d.1.0", "TABLES FOR ROLE a", "GRANT", "SELECT", "TO b")
NOTE = Remark("t.3.4", "", "'note'")
LABEL = Remark("t.5.0", "p", "'label'")
NOTHING = Overview({}, [], [], [], [])


def test_what_is_the_same_is_left_out() -> None:
    both = Overview({"t.1.0": "a"}, [READ, OTHER], [USUAL], [NOTE], [LABEL])
    assert narrowed(both, both) == (NOTHING, NOTHING)
    assert narrowed(both, NOTHING) == (both, NOTHING)
    assert narrowed(NOTHING, both) == (NOTHING, both)


def test_of_an_object_all_is_left_or_nothing() -> None:
    before = Overview({"t.1.0": "a", "t.2.0": "b", "t.3.0": "c"}, [READ, OTHER], [], [NOTE], [])
    after = Overview({"t.1.0": "a", "t.2.0": "x"}, [READ, WRITE, OTHER], [], [NOTE._replace(text="'other'")], [])
    assert narrowed(before, after) == (
        Overview({"t.2.0": "b", "t.3.0": "c"}, [READ], [], [NOTE], []),
        Overview({"t.2.0": "x"}, [READ, WRITE], [], [NOTE._replace(text="'other'")], []),
    )


def test_what_is_needed_to_tell_of_it() -> None:
    found = Overview({"f.1.0": "a"}, [READ], [USUAL], [NOTE], [LABEL])
    assert found.objects == {"f.1.0", "t.1.0", "t.3.4", "t.3.0", "t.5.0"}
