"""The documentation agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from snapkit.cli.exit_codes import ExitCode
from snapkit.cli.main import application_for

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
COMMANDS: dict[str, Any] = {
    name: command
    for name, command in get_command(application_for()).commands.items()  # type: ignore[attr-defined]
    if not command.hidden
}


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
    listed = set(re.findall(r"`(\w+)`", REFERENCE.rpartition("Warnings:")[2]))
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "snapkit").rglob("*.py"))
    assert set(re.findall(r'Caution\(\s*"(\w+)"', sources)) == listed


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))],
)
def test_links_within_the_project_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{page} links to {target}"


def test_the_architecture_page_names_what_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:core|cli|postgres|services)/\w+\.py)`", text):
        assert (ROOT / "snapkit" / name).exists(), name
