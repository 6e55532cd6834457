"""What is suggested for a word that is no command and no option."""

from __future__ import annotations

import pytest

from snapkit.cli.suggestions import meant
from tests.sandbox import run_snapkit


@pytest.mark.parametrize(
    ("words", "said", "unsaid"),
    [
        (["help"], "No such command 'help'.", "shell"),
        (["list", "--srot"], "No such option: --srot", "--json"),
        (["bakcup"], "Did you mean 'backup'?", "undo"),
        (["roll"], "Did you mean 'rollback'?", "shell"),
        (["backup", "--lable", "x"], "Did you mean --label?", "--tablespace"),
        (["backup", "--dryrun"], "Did you mean --dry-run?", "--json"),
    ],
)
def test_only_what_one_could_have_mistyped(words: list[str], said: str, unsaid: str) -> None:
    ran = run_snapkit(*words)
    assert ran.code == 2
    assert said in ran.err
    assert unsaid not in ran.err
    assert "--help" in ran.err


def test_a_suggestion_ends_as_a_question_in_json_too() -> None:
    error = run_snapkit("backup", "--lable", "x", "--json").document["error"]
    assert error["message"].endswith("Did you mean --label?")


def test_slips() -> None:
    assert meant("--sort", ["--json"]) == []
    assert meant("help", ["shell"]) == []
    assert meant("lst", ["list", "ls", "show"]) == ["list", "ls"]
    assert meant("--grcae", ["--grace"]) == ["--grace"]
    assert meant("bakcup", ["backup"]) == ["backup"]
