"""What is said of a client's session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snapkit.core.client_session import ClientSession
from tests.unit.builders import NOW

SESSION = ClientSession(4711, "web", "psql", "10.0.0.7", "active", NOW, NOW, True)


@pytest.mark.parametrize(
    ("session", "text"),
    [
        (SESSION, "pid 4711, user web, psql, from 10.0.0.7"),
        (replace(SESSION, application=None), "pid 4711, user web, from 10.0.0.7"),
        (replace(SESSION, application="", client=None), "pid 4711, user web"),
        (replace(SESSION, user=None, application=None, client=None), "pid 4711, user unknown"),
    ],
)
def test_a_session_is_described_by_what_the_server_shows_of_it(session: ClientSession, text: str) -> None:
    assert session.describe() == text


def test_what_a_session_does_is_told_as_far_as_the_server_shows_it() -> None:
    assert SESSION.doing() == f"active since {NOW:%H:%M:%S} UTC"
    assert replace(SESSION, state_since=None).doing() == "active"
    assert replace(SESSION, state=None).doing() == ""
