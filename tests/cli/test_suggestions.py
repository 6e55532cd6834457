"""What is suggested for a word that is no command and no option."""

from __future__ import annotations

import pytest

from snapkit.cli.suggestions import meant
from tests.sandbox import run_snapkit


@pytest.mark.parametrize(
    ("words", "said", "unsaid"),
    [
        (["helm"], "No such command 'helm'.", "shell"),
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


@pytest.mark.parametrize(
    ("words", "there"),
    [
        (["revert"], "snapkit rollback --latest"),
        (["create"], "snapkit backup"),
        (["snapshot", "before-0042"], "snapkit backup"),
        (["rm", "x"], "snapkit delete NAME"),
        (["drop", "x"], "snapkit delete NAME"),
        (["completion", "bash"], "snapkit --install-completion"),
        (["dump"], "snapkit backup"),
        (["pg_dump", "shop"], "snapkit backup"),
        (["snapshots"], "snapkit list"),
        (["log"], "snapkit list"),
        (["compare", "x"], "snapkit diff"),
        (["checkout", "x"], "snapkit rollback --latest"),
        (["reset", "--hard"], "snapkit rollback --latest"),
        (["clean"], "snapkit prune --keep 2"),
        (["psql", "x"], "snapkit shell NAME"),
        (["prune", "--keep-last", "3"], "The option is --keep."),
        (["guard", "--keep-last=3", "--", "true"], "The option is --keep."),
        (["backup", "-m", "before v2"], "The option is --label."),
        (["backup", "--message", "x"], "The option is --label."),
        (["backup", "--name=x"], "The option is --label."),
        (["guard", "--tag", "x", "--", "true"], "The option is --label."),
        (["list", "-d", "shop"], "The option is --url."),
        (["list", "--dbname", "shop"], "The option is --url."),
        (["undo", "shop_old_20260111_000000"], "snapkit rollback shop_old_20260111_000000"),
        (["config", "grace"], "snapkit config"),
        (["backup", "shop"], "snapkit backup --label shop."),
        (["backup", "--pin", "my shop"], "snapkit backup --label 'my shop'."),
        (["list", "shop"], "snapkit list --source shop"),
        (["list", "shop"], "snapkit show shop"),
        (["status", "shop"], "snapkit status --all"),
        (["shell", "153124", "psql", "-Atc", "SELECT 1"], "snapkit shell 153124 -- psql -Atc 'SELECT 1'"),
        (["shell", "--show-command", "153124", "psql", "-At"], "snapkit shell NAME -- COMMAND..."),
    ],
)
def test_what_other_tools_call_it_leads_somewhere(words: list[str], there: str) -> None:
    ran = run_snapkit(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert there in ran.err.partition("Hint: ")[2]


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (["help"], ["--help"]),
        (["help", "rollback"], ["rollback", "--help"]),
        (["help", "--json"], ["--help"]),
        (["version"], ["--version"]),
    ],
)
def test_help_and_version_are_understood_as_words(words: list[str], same: list[str]) -> None:
    ran = run_snapkit(*words)
    assert ran.code == 0
    assert ran.out == run_snapkit(*same).out != ""


def test_help_for_what_is_no_command() -> None:
    assert "No such command 'restroe'." in run_snapkit("help", "restroe").err
