"""The documentation agrees with the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from snapkit.cli.exit_codes import ExitCode
from tests import cli_reference
from tests.pages import DOCS, PAGES, ROOT, name_of

REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
COMMANDS = cli_reference.visible_commands()


def _section(title: str) -> str:
    match = re.search(rf"^(#+) `?snapkit {title}\b.*?(?=^#|\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/reference.md has no section for snapkit {title}"
    return match[0]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_in_the_reference(name: str) -> None:
    text = _section(name) + REFERENCE.partition("## Options of every command")[2].partition("\n## ")[0]
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("-"):
                assert f"`{option}`" in text, f"docs/reference.md does not tell of {option} of snapkit {name}"


def test_no_command_is_in_the_reference_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `snapkit ([a-z]+)", REFERENCE, re.MULTILINE)) == set(COMMANDS)


def test_every_exit_code_is_in_the_reference() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| `?(\w*)`? ?\|", REFERENCE, re.MULTILINE))
    assert rows == {str(int(code)): "" if code is ExitCode.DONE else code.code for code in ExitCode}


def test_every_warning_is_in_the_reference() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", REFERENCE.partition("\n## Warnings\n")[2], re.MULTILINE)
    listed = set(re.findall(r"\w+", " ".join(rows)))
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "snapkit").rglob("*.py"))
    assert set(re.findall(r'Caution\(\s*"(\w+)"', sources)) == listed


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    assert cli_reference.PAGE.read_text(encoding="utf-8") == cli_reference.page(), (
        "docs/commands.md is out of date: python -m tests.cli_reference"
    )


_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """Return what links can name within a page: its headings, as GitHub spells them, and its own anchors."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(
        r"^#+ +(.*?) *$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    spelled = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w -]", "", each).replace(" ", "-") for each in spelled} | set(
        re.findall(r'<a id="([^"]+)"', text)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(there), f"{page.name} links to {target}: no such heading"


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    groups = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    listed = [page for group in groups for entries in group.values() for each in entries for page in each.values()]
    assert sorted(listed) == sorted(name_of(page) for page in DOCS.rglob("*.md"))


ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")


def test_the_architecture_page_names_what_exists() -> None:
    for name in re.findall(r"`((?:core|cli|postgres|services|settings)/[\w/]+(?:\.py|/))`", ARCHITECTURE):
        assert (ROOT / "snapkit" / name).exists(), name


def test_the_tree_on_the_architecture_page_is_the_tree() -> None:
    drawn = re.search(r"```\nsnapkit/.*?\n(.*?)```", ARCHITECTURE, re.DOTALL)
    assert drawn is not None
    found: dict[str, set[str]] = {}
    above: list[str] = []
    for line in drawn[1].splitlines():
        if name := re.match(r"( +)(\w+)/ ", line):
            above = [*above[: len(name[1]) // 2 - 1], name[2]]
            found["/".join(above)] = set()
        else:
            found["/".join(above)] |= set(line.split())
    files = [path.relative_to(ROOT / "snapkit") for path in (ROOT / "snapkit").rglob("*.py")]
    there = {(path.parent.as_posix(), path.stem) for path in files if path.stem != "__init__"}
    outside = {(".", "__main__"), (".", "errors")}
    assert {(folder, name) for folder, names in found.items() for name in names} == there - outside
