"""Which deploy a backup belongs to: what is recognised, what is cut, and what reads back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.deploy.ci_systems import CI_SYSTEMS, recognise_ci
from snapkit.core.deploy.deploy import (
    MAX_MIGRATIONS,
    MAX_TEXT,
    Checkout,
    CiRun,
    Deploy,
    MigrationState,
    clean,
    commit_id,
    differs,
    from_document,
    other_code,
    read_checkout,
    to_document,
)
from snapkit.core.inventory.metadata import Metadata, decode, encode
from tests.unit.builders import make_entry, make_metadata

COMMIT = "4f2a9c1d" * 5
OTHER = "0123abcd" * 5

cleaned = st.none() | st.text(max_size=300).map(clean)
commits = st.text("0123456789abcdef", min_size=7, max_size=64)
checkouts = st.builds(Checkout, commits, cleaned, cleaned, st.none() | st.booleans())
ci_runs = st.builds(
    CiRun, st.sampled_from(["GitHub Actions", "Jenkins"]), st.none() | commits, cleaned, cleaned, cleaned
)
states = st.builds(
    MigrationState,
    tool=st.just("Alembic"),
    schema=st.just('sche"ma'),
    table=st.just("alembic_version"),
    version=cleaned,
    applied=st.none() | st.integers(0, 10**6),
    failed=st.booleans(),
)
deploys = st.builds(
    Deploy,
    st.none() | checkouts,
    st.none() | ci_runs,
    cleaned,
    cleaned,
    st.lists(states, max_size=MAX_MIGRATIONS).map(tuple),
    st.integers(0, 5000),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (None, None),
        ("", None),
        ("main", "main"),
        ("a\x1b[31mb\n", "a[31mb"),
        ("half \udc00", "half ?"),
        ("https://me:secret@host/x", "https://host/x"),
        ("https://me:sec/ret@host/x", "https://host/x"),
        ("see https://token@host/run/1?token=x#y for more", "see https://host/run/1 for more"),
        ("postgresql+psycopg://u:p@h/db?password=x", "postgresql+psycopg://h/db"),
        ("x" * 1000, "x" * (MAX_TEXT - 1) + "…"),
        ("https://" + "x" * 3000, None),
        ("x" * 3000, "x" * (MAX_TEXT - 1) + "…"),
    ],
)
def test_what_is_left_of_a_text(text: str | None, left: str | None) -> None:
    assert clean(text) == left


@given(st.text(max_size=500))
def test_a_cleaned_text_is_bounded_printable_and_stays_as_it_is(text: str) -> None:
    once = clean(text)
    assert once is None or (len(once) <= MAX_TEXT and once.isprintable() and once.encode())
    assert clean(once) == once


@pytest.mark.parametrize("text", [None, "", "main", "4f2a9c", "4f2a9c1g", "a" * 65, "$(rm -rf /)"])
def test_what_is_no_commit(text: str | None) -> None:
    assert commit_id(text) is None


def test_a_commit_in_capitals_is_one() -> None:
    assert commit_id(f" {COMMIT.upper()}\n") == COMMIT


@pytest.mark.parametrize(
    ("head", "status", "expected"),
    [
        ("", "", None),
        ("nonsense\n", "", None),
        (f"{COMMIT}\n", "", Checkout(COMMIT, dirty=False)),
        (f"{COMMIT}", None, Checkout(COMMIT)),
        (
            f"{COMMIT}\nHEAD -> refs/heads/a/b,c, refs/remotes/origin/main\n",
            " M x\n",
            Checkout(COMMIT, "a/b,c", None, True),
        ),
        (
            f"{COMMIT}\nHEAD, tag: refs/tags/v2, tag: refs/tags/v1, refs/heads/main\n",
            "",
            Checkout(COMMIT, None, "v2", False),
        ),
    ],
)
def test_what_git_says(head: str, status: str | None, expected: Checkout | None) -> None:
    assert read_checkout(head, status) == expected


CI = [
    (
        {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SHA": COMMIT,
            "GITHUB_REF_NAME": "main",
            "GITHUB_RUN_ID": "77",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "shop/app",
        },
        CiRun("GitHub Actions", COMMIT, "main", "77", "https://github.com/shop/app/actions/runs/77"),
    ),
    (
        {
            "GITLAB_CI": "true",
            "CI_COMMIT_SHA": COMMIT,
            "CI_COMMIT_REF_NAME": "release",
            "CI_PIPELINE_ID": "5",
            "CI_JOB_URL": "https://gitlab-ci-token:glcbt-secret@gitlab.example/x/-/jobs/9?private_token=abc",
        },
        CiRun("GitLab CI", COMMIT, "release", "5", "https://gitlab.example/x/-/jobs/9"),
    ),
    (
        {"JENKINS_URL": "http://j/", "GIT_COMMIT": COMMIT, "GIT_BRANCH": "origin/main", "BUILD_TAG": "jenkins-x-3"},
        CiRun("Jenkins", COMMIT, "origin/main", "jenkins-x-3"),
    ),
    ({"CIRCLECI": "true", "CIRCLE_SHA1": COMMIT, "CIRCLE_TAG": "v1"}, CiRun("CircleCI", COMMIT, "v1")),
    (
        {"BUILDKITE": "true", "BUILDKITE_COMMIT": "HEAD", "BUILDKITE_BRANCH": "main"},
        CiRun("Buildkite", None, "main"),
    ),
    (
        {
            "BITBUCKET_BUILD_NUMBER": "8",
            "BITBUCKET_COMMIT": COMMIT,
            "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/a/b",
        },
        CiRun("Bitbucket Pipelines", COMMIT, None, "8", "http://bitbucket.org/a/b/pipelines/results/8"),
    ),
    (
        {
            "TF_BUILD": "True",
            "BUILD_SOURCEVERSION": COMMIT,
            "BUILD_SOURCEBRANCHNAME": "main",
            "BUILD_BUILDID": "12",
            "SYSTEM_COLLECTIONURI": "https://dev.azure.com/org/",
            "SYSTEM_TEAMPROJECT": "shop",
        },
        CiRun("Azure Pipelines", COMMIT, "main", "12", "https://dev.azure.com/org/shop/_build/results?buildId=12"),
    ),
    ({"TRAVIS": "true", "TRAVIS_COMMIT": COMMIT}, CiRun("Travis CI", COMMIT)),
    ({"DRONE": "true", "DRONE_COMMIT_SHA": COMMIT}, CiRun("Drone", COMMIT)),
    ({"CODEBUILD_BUILD_ID": "x:1"}, CiRun("AWS CodeBuild")),
    ({"HOME": "/root", "GITHUB_SHA": COMMIT, "GITHUB_ACTIONS": ""}, None),
    (
        {"JENKINS_URL": "http://j/", "BUILD_URL": "http://j/" + "x" * 300},
        CiRun("Jenkins", url="http://j/" + "x" * (MAX_TEXT - 10) + "…"),
    ),
]


@pytest.mark.parametrize(("environment", "expected"), CI)
def test_a_ci_run_is_known_by_its_environment(environment: dict[str, str], expected: CiRun | None) -> None:
    assert recognise_ci(environment) == expected


def test_every_ci_system_is_tried_and_no_two_share_a_mark() -> None:
    tried = {expected.name for _, expected in CI if expected}
    assert tried == {system.name for system in CI_SYSTEMS}
    assert len({system.mark for system in CI_SYSTEMS}) == len(CI_SYSTEMS)


def test_a_url_put_together_that_is_too_long_is_left_out() -> None:
    environment = dict(CI[0][0], GITHUB_REPOSITORY="x" * 199)
    run = recognise_ci(environment)
    assert run is not None
    assert run.url is None


@pytest.mark.parametrize(
    ("deploy", "short", "commit"),
    [
        (Deploy(user="me"), "", None),
        (Deploy(ci=CiRun("Jenkins", ref="main")), "", None),
        (Deploy(ci=CiRun("Jenkins", COMMIT, "main")), "4f2a9c1 main", COMMIT),
        (Deploy(Checkout(COMMIT)), "4f2a9c1", COMMIT),
        (Deploy(Checkout(COMMIT, "main", None, True), CiRun("Jenkins", OTHER)), "4f2a9c1 main*", COMMIT),
        (Deploy(Checkout(COMMIT, "main", "v1.4", False)), "v1.4", COMMIT),
    ],
)
def test_a_deploy_in_short(deploy: Deploy, short: str, commit: str | None) -> None:
    assert (deploy.short, deploy.commit) == (short, commit)


@pytest.mark.parametrize(
    ("made_from", "at_hand", "expected"),
    [
        (None, Checkout(COMMIT), False),
        (Deploy(), Checkout(COMMIT), False),
        (Deploy(Checkout(COMMIT)), None, False),
        (Deploy(Checkout(COMMIT)), Checkout(COMMIT, "other branch", None, True), False),
        (Deploy(ci=CiRun("Jenkins", COMMIT[:10])), Checkout(COMMIT), False),
        (Deploy(Checkout(COMMIT)), Checkout(OTHER), True),
    ],
)
def test_other_code(made_from: Deploy | None, at_hand: Checkout | None, expected: bool) -> None:
    assert differs(made_from, at_hand) is expected
    assert [each.code for each in other_code(made_from, at_hand)] == ["other_code"] * expected


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (MigrationState("Alembic", "public", "t"), "Alembic: could not be read, in public.t"),
        (MigrationState("Alembic", "public", "t", None, 0), "Alembic: nothing applied, in public.t"),
        (MigrationState("Flyway", "a", "t", "4.2", 7, True), "Flyway: 4.2 (failed), in a.t"),
    ],
)
def test_a_migration_state_in_words(state: MigrationState, text: str) -> None:
    assert state.describe() == text


@given(deploys)
def test_a_deploy_reads_back_as_it_was_written(deploy: Deploy) -> None:
    assert from_document(json.loads(json.dumps(to_document(deploy)))) == deploy


@given(deploys)
def test_a_document_with_a_deploy_reads_back_and_is_bounded(deploy: Deploy) -> None:
    metadata = Metadata(make_metadata().kind, "app", make_metadata().created_at, deploy=deploy)
    text = encode(metadata)
    assert len(text) < 100_000
    assert decode(text) == metadata
    assert make_entry(metadata=metadata).deploy == deploy


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {"git": {}},
        {"git": {"commit": "no"}},
        {"git": [COMMIT]},
        {"git": {"commit": COMMIT, "dirty": "yes"}},
        {"ci": "Jenkins"},
        {"user": 1},
        {"migrations": {}},
        {"migrations": ["x"]},
        {"migrations": [{"applied": True}]},
        {"migrations_left_out": "many"},
    ],
)
def test_what_is_no_deploy_is_none_and_stays_in_the_comment(document: Any) -> None:
    assert from_document(document) is None
    text = encode(make_metadata())[:-1] + f',"deploy":{json.dumps(document)}}}'
    read = decode(text)
    assert isinstance(read, Metadata)
    assert read.deploy is None
    assert json.loads(encode(read)).get("deploy") == document


def test_what_a_later_version_notes_besides_stays_in_the_comment() -> None:
    document = {"git": {"commit": COMMIT, "author": "x"}, "ci": {}, "migrations": [{}]}
    text = encode(make_metadata())[:-1] + f',"deploy":{json.dumps(document)}}}'
    read = decode(text)
    assert isinstance(read, Metadata)
    assert read.deploy == Deploy(Checkout(COMMIT), CiRun("CI"), migrations=(MigrationState("unknown", "", ""),))
    assert json.loads(encode(read.with_label("x")))["deploy"] == document


@given(json_values)
def test_no_value_makes_reading_fail(value: Any) -> None:
    for each in (value, {"git": value}, {"ci": value}, {"migrations": value}, {"migrations": [value]}):
        from_document(each)


def test_a_comment_of_somebody_s_making_is_shown_cut() -> None:
    deploy = from_document({"git": {"commit": COMMIT, "branch": "x" * 5000}, "migrations": [{}] * 5000})
    assert deploy is not None
    assert len(deploy.short) < 300
    assert len(deploy.migrations) == MAX_MIGRATIONS
