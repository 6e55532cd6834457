"""The plan of a backup."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from snapkit.core.comparison.lineage import Boundary, Lineage
from snapkit.core.comparison.writes import Activity, Rows
from snapkit.core.copying.moment import Moment, Versions
from snapkit.core.deploy.deploy import Deploy
from snapkit.core.inventory import metadata as comments
from snapkit.core.inventory.database import INVALID_CONNECTION_LIMIT, check_live
from snapkit.core.inventory.kinds import Strategy
from snapkit.core.inventory.metadata import MAX_BYTES
from snapkit.core.inventory.naming import FreeNames
from snapkit.core.plans.backup import plan_backup
from snapkit.core.plans.clone import CopyMethod, Template, choose_method
from snapkit.core.plans.statements import Checkpoint, CommentOnDatabase, RenameDatabase, Statement
from snapkit.errors import SnapkitError, UsageError
from tests.unit.builders import AT, FILE_COPY, PROPERTIES, document_in, make_database, make_metadata, names_after


def test_a_backup_is_a_clone_and_then_one_transaction_that_ends_with_its_name() -> None:
    plan = plan_backup(
        Template(make_database("app"), PROPERTIES),
        FILE_COPY,
        FreeNames(AT, ["app"]),
        label="before 4.2",
        pinned=True,
        may_checkpoint=False,
    )
    clone, finish = plan.steps
    assert not clone.atomic
    assert finish.atomic
    assert finish.statements == (*plan.clone.restore_properties, *plan.finish)
    assert finish.statements[-1] == RenameDatabase("app_partial_20260110_103045", "app_backup_20260110_103045")
    assert names_after(plan.steps, "app") == {"app": "app", "app_partial_20260110_103045": plan.name}
    assert document_in(list(plan.finish), plan.clone.name) == plan.metadata
    assert plan.metadata == replace(make_metadata(label="before 4.2", pinned=True), strategy=Strategy.FILE_COPY)
    assert plan.finish[0] == CommentOnDatabase(plan.clone.name, plan.document)


@pytest.mark.parametrize(
    ("method", "may_checkpoint", "before"),
    [
        (FILE_COPY, True, (Checkpoint(),)),
        (CopyMethod(Strategy.CLONE, Strategy.FILE_COPY, True), True, (Checkpoint(),)),
        (CopyMethod(Strategy.WAL_LOG, Strategy.WAL_LOG, None), True, ()),
        (FILE_COPY, False, ()),
    ],
)
def test_a_clone_that_begins_with_a_checkpoint_has_one_before_it(
    method: CopyMethod, may_checkpoint: bool, before: tuple[Statement, ...]
) -> None:
    live = make_database("app")
    plan = plan_backup(Template(live, PROPERTIES), method, FreeNames(AT, []), may_checkpoint=may_checkpoint)
    assert plan.before == before
    assert [step.statements for step in plan.steps][:-2] == ([before] if before else [])


@pytest.mark.parametrize("comment", [None, "", "The shop's database", '{"snapkit":"not ours"}'])
@pytest.mark.parametrize(("is_template", "allow_connections"), [(False, True), (True, True), (False, False)])
def test_a_backup_keeps_what_the_seal_takes_away(
    comment: str | None, is_template: bool, allow_connections: bool
) -> None:
    live = make_database("app", is_template=is_template, allow_connections=allow_connections)
    metadata = plan_backup(
        Template(live, PROPERTIES, comment=comment), FILE_COPY, FreeNames(AT, []), may_checkpoint=False
    ).metadata
    assert metadata.comment == comment
    assert metadata.is_template is is_template
    assert metadata.allow_connections is allow_connections
    assert comments.decode(comments.encode(metadata)) == metadata


def test_a_document_that_a_rename_by_hand_left_on_the_live_database_is_not_kept_as_its_comment() -> None:
    left = comments.encode(replace(make_metadata(), comment="The shop's database"))
    plan = plan_backup(
        Template(make_database("app"), PROPERTIES, comment=left), FILE_COPY, FreeNames(AT, []), may_checkpoint=False
    )
    assert plan.metadata.comment == "The shop's database"


def test_what_a_clone_took_is_noted_for_later_estimates() -> None:
    live = make_database("app")
    plan = plan_backup(Template(live, PROPERTIES), FILE_COPY, FreeNames(AT, []), may_checkpoint=False)
    measured = plan.measured(4096, timedelta(seconds=1.5), 300)
    noted = measured.metadata
    assert (noted.clone_bytes, noted.clone_ms, noted.clone_files) == (4096, 1500, 300)
    assert document_in(list(measured.finish), plan.clone.name) == measured.metadata


def test_a_backup_tells_of_the_source_as_it_was_copied_not_as_it_was_when_that_was_planned() -> None:
    live = make_database("app")
    plan = plan_backup(
        Template(live, PROPERTIES, comment="before"),
        FILE_COPY,
        FreeNames(AT, []),
        label="v42",
        pinned=True,
        may_checkpoint=False,
    )
    then = replace(live, is_template=True, allow_connections=False)
    properties = replace(PROPERTIES, connection_limit=7)
    found = plan.as_of(Moment(then, "after", properties, Versions("1", None, None, None), {}))
    document = document_in(list(found.finish), plan.clone.name)
    assert (document.comment, document.is_template, document.allow_connections) == ("after", True, False)
    assert (document.label, document.pinned, document.created_at) == ("v42", True, AT)
    assert (found.clone.template, found.clone.properties) == (then, properties)
    assert replace(found.clone, template=live, properties=PROPERTIES) == plan.clone
    with pytest.raises(UsageError):
        plan.as_of(Moment(then, "x" * MAX_BYTES, properties, Versions("1", None, None, None), {}))


@pytest.mark.parametrize("length", [0, MAX_BYTES // 2])
def test_what_is_good_to_know_is_noted_where_there_is_room_for_it(length: int) -> None:
    live, comment = make_database("app"), "x" * length
    plan = plan_backup(Template(live, PROPERTIES, comment=comment), FILE_COPY, FreeNames(AT, []), may_checkpoint=False)
    deploy, activity = Deploy(user="me"), Activity(live.oid, 1, Rows(2))
    noted = plan.noting(deploy, activity)
    if length:
        assert noted == plan
        return
    document = document_in(list(noted.measured(4096, timedelta(0)).finish), plan.clone.name)
    assert (document.deploy, document.activity) == (deploy, activity)


def test_a_second_backup_within_one_second_is_numbered() -> None:
    taken = ["app", "app_backup_20260110_103045"]
    plan = plan_backup(
        Template(make_database("app"), PROPERTIES), FILE_COPY, FreeNames(AT, taken), may_checkpoint=False
    )
    assert plan.name == "app_backup_20260110_103045_2"


@pytest.mark.parametrize(("label", "comment"), [("x" * MAX_BYTES, None), (None, "x" * MAX_BYTES), ("\udcff", None)])
def test_a_document_that_cannot_be_kept_is_refused_while_planning(label: str | None, comment: str | None) -> None:
    """Not first when the clone has been made."""
    with pytest.raises(UsageError):
        plan_backup(
            Template(make_database("app"), PROPERTIES, comment=comment),
            FILE_COPY,
            FreeNames(AT, []),
            label=label,
            may_checkpoint=False,
        )


def test_an_invalid_live_database_is_refused_with_the_way_out() -> None:
    check_live(make_database("app"))
    with pytest.raises(SnapkitError, match="is invalid") as caught:
        check_live(make_database("app", connection_limit=INVALID_CONNECTION_LIMIT))
    assert caught.value.state == "Nothing was changed."
    assert caught.value.hint is not None
    assert "Drop it with DROP DATABASE" in caught.value.hint
    assert "snapkit rollback --latest" in caught.value.hint


def test_what_was_learnt_is_noted_and_handed_on() -> None:
    method = replace(choose_method(None, 180006, True).copying(), learnt=True)
    plan = plan_backup(Template(make_database("app"), PROPERTIES), method, FreeNames(AT, []), may_checkpoint=False)
    assert plan.metadata.shares_blocks is False
    tried = plan_backup(Template(make_database("app"), PROPERTIES), FILE_COPY, FreeNames(AT, []), may_checkpoint=False)
    assert tried.metadata.shares_blocks is None
    assert '"shares_blocks":false' in tried.not_sharing().document


def test_what_a_backup_lacks_is_noted() -> None:
    plan = plan_backup(
        Template(make_database("app"), PROPERTIES), FILE_COPY, FreeNames(AT, []), may_checkpoint=False
    ).lacking(("setting jit",), 1)
    assert '"not_given":["setting jit"]' in plan.document


def test_where_a_backup_comes_from_is_noted_once_it_is_copied() -> None:
    lineage = Lineage(5, 1).cloned(2, Boundary(7, 9, (7,), 4096))
    plan = plan_backup(Template(make_database("app"), PROPERTIES), FILE_COPY, FreeNames(AT, []), may_checkpoint=False)
    assert plan.metadata.lineage is None
    noted = plan.descending(lineage)
    assert noted.metadata.lineage == lineage
    assert document_in(list(noted.finish), plan.clone.name) == noted.metadata
