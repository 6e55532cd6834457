"""A quick run shows every promise, every command and every exit code on a real server."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises import PROMISES, to_be_shown

TESTS = Path(__file__).parent
ASKS_NO_SERVER = {"config"}
"""Commands that connect nowhere."""
MARKS = {"pytest.mark.promise": "promise", "pytest.mark.command": "command"}


def _marks() -> Iterator[tuple[str, str]]:
    """Each word of every ``pytest.mark.promise(...)`` and ``pytest.mark.command(...)``, wherever they stand."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (name := MARKS.get(ast.unparse(node.func))):
                yield from ((name, ast.literal_eval(word)) for word in node.args)


def test_each_is_shown_by_a_test_and_by_one_only() -> None:
    """A second test of the same makes the run longer; what it adds is another promise, or a detail."""
    assert Counter(_marks()) == Counter(to_be_shown())


def test_the_promises_of_the_readme_are_among_them() -> None:
    readme = (TESTS.parent / "README.md").read_text(encoding="utf-8")
    promises = re.findall(r"^\d+\. \*\*(.+?)\.?\*\*", readme, re.MULTILINE)
    assert promises
    assert set(promises) <= set(PROMISES)


def test_they_are_shown_on_a_server(request: pytest.FixtureRequest) -> None:
    """Of the tests that this run has collected."""
    for item in request.session.items:
        shown = [word for name in MARKS.values() for mark in item.iter_markers(name) for word in mark.args]
        if not ASKS_NO_SERVER.issuperset(shown):
            assert item.get_closest_marker("server"), f"{item.nodeid} uses no server"
