"""The pages of --help: grouped, whole at any width, with an example and the page that tells more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snapkit.cli.commands import index
from tests.sandbox import run_snapkit

DOCS = Path(__file__).parents[2] / "docs"
WIDTHS = ("60", "80", "100")


def _help(*words: str, width: str = "80") -> str:
    ran = run_snapkit(*words, "--help", COLUMNS=width)
    assert ran.code == 0
    return ran.out


@pytest.mark.parametrize("width", WIDTHS)
def test_all_commands_stand_in_groups_and_nothing_is_cut_off(width: str) -> None:
    text = _help(width=width)
    assert "..." not in text.partition("\n")[2]
    assert max(map(len, text.splitlines())) <= int(width)
    for title, names in index.GROUPS.items():
        group = re.search(rf"^{title}:\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        assert group is not None, title
        assert re.findall(r"^  (\w+)", group[1], re.MULTILINE) == list(names)


@pytest.mark.parametrize("name", index.FILES)
def test_a_commands_own_options_come_first_and_an_example_last(name: str) -> None:
    text = _help(name)
    titles = re.findall(r"^(\w+):$", text, re.MULTILINE)
    expected = ["Arguments", "Options", "Connection", "Output", "Example", "Examples"]
    assert titles == [each for each in expected if each in titles]
    assert "Output" in titles
    assert text.index("Example") > text.index("--json")
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", index.FILES)
def test_the_page_that_tells_more_has_the_command(name: str) -> None:
    page = re.search(rf"^More: docs/(\S+)#snapkit-{name}$", _help(name), re.MULTILINE)
    assert page is not None
    assert f"### `snapkit {name}" in (DOCS / page[1]).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", index.FILES)
def test_an_example_is_of_the_command(name: str) -> None:
    examples = re.findall(r"^  (snapkit .*)$", _help(name).partition("\nExample")[2], re.MULTILINE)
    assert examples
    assert all(each.startswith(f"snapkit {name}") for each in examples)


def test_an_alias_shows_the_same() -> None:
    assert _help("ls").partition("\n")[2] == _help("list").partition("\n")[2]
