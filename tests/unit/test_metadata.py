from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapkit.core.comparison.lineage import Boundary
from snapkit.core.inventory.kinds import Kind, Strategy
from snapkit.core.inventory.metadata import (
    MAX_BYTES,
    PREFIX,
    VERSION,
    Metadata,
    NewerDocument,
    checked_label,
    decode,
    encode,
    shown_label,
)
from snapkit.core.inventory.sealed import Seal
from snapkit.errors import UsageError
from tests.unit.builders import AT, make_entry, make_metadata, openings, texts
from tests.unit.test_lineage import FIRST, at, boundaries, lineages

KNOWN = {
    "snapkit",
    "kind",
    "source",
    "created_at",
    "strategy",
    "label",
    "pinned",
    "pin_reason",
    "comment",
    "is_template",
    "allow_connections",
    "clone_bytes",
    "clone_files",
    "clone_ms",
    "opened",
    "deploy",
    "activity",
    "gave_way_to",
    "gave_way_to_oid",
    "order",
    "seal",
    "altered",
    "dropping",
    "not_given",
    "shares_blocks",
    "lineage",
    "heir",
    "late_after",
}

scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
unknown_keys = st.dictionaries(texts.filter(lambda key: key not in KNOWN), json_values, max_size=3)
documents_of_ours = st.builds(
    Metadata,
    kind=st.sampled_from([Kind.BACKUP, Kind.OLD]),
    source=texts,
    created_at=st.datetimes(timezones=st.just(UTC)).map(lambda at: at.replace(microsecond=0)),
    strategy=st.none() | st.sampled_from(Strategy),
    label=st.none() | texts,
    pinned=st.booleans(),
    pin_reason=st.none() | texts,
    comment=st.none() | texts,
    is_template=st.booleans(),
    allow_connections=st.booleans(),
    clone_bytes=st.none() | st.integers(0, 2**63),
    clone_files=st.none() | st.integers(0, 2**31),
    clone_ms=st.none() | st.integers(0, 2**31),
    opened=st.none() | openings,
    gave_way_to=st.none() | texts,
    gave_way_to_oid=st.none() | st.integers(0, 2**32 - 1),
    order=st.none() | st.integers(3, 2**63),
    seal=st.none() | st.builds(Seal, texts, st.integers(-(2**63), 2**63), st.integers(-1, 2**31)),
    altered=st.none() | texts,
    dropping=st.none() | texts,
    not_given=st.lists(texts, max_size=3).map(tuple),
    shares_blocks=st.none() | st.booleans(),
    lineage=st.none() | lineages,
    heir=st.none() | lineages,
    late_after=st.none() | boundaries,
    unknown=unknown_keys,
)


def document(**changes: Any) -> str:
    """Return a well-formed document with some keys changed; ``...`` leaves one out."""
    values: dict[str, Any] = {"kind": "backup", "source": "app", "created_at": "2026-01-10T10:30:45Z"} | changes
    return json.dumps(
        {"snapkit": VERSION} | {key: value for key, value in values.items() if value is not ...}, separators=(",", ":")
    )


@given(documents_of_ours)
def test_a_document_reads_back_as_it_was_written(metadata: Metadata) -> None:
    text = encode(metadata)
    assert text.startswith(PREFIX)
    assert "\0" not in text
    assert decode(text) == metadata


@given(documents_of_ours)
def test_rewriting_a_document_changes_nothing(metadata: Metadata) -> None:
    once = encode(metadata)
    read = decode(once)
    assert isinstance(read, Metadata)
    assert encode(read) == once


@given(documents_of_ours, texts, st.booleans())
def test_keys_of_other_versions_survive_a_label_and_a_pin(metadata: Metadata, text: str, pinned: bool) -> None:
    read = decode(encode(metadata.with_label(text).with_pin(pinned, text)))
    assert isinstance(read, Metadata)
    assert read.unknown == metadata.unknown
    assert read.label == text
    assert read.pinned is pinned
    assert read.pin_reason == (text if pinned else None)


def test_a_plain_document_is_short_and_its_keys_are_settled() -> None:
    assert encode(make_metadata()) == (
        '{"snapkit":1,"kind":"backup","source":"app","created_at":"2026-01-10T10:30:45Z"}'
    )


def test_a_full_document_holds_every_key() -> None:
    metadata = Metadata(
        Kind.OLD,
        'a"pp',
        AT,
        strategy=Strategy.FILE_COPY,
        label="before 4.2 – é",
        pinned=True,
        pin_reason="audit\n2026",
        comment="It's ours",
        is_template=True,
        allow_connections=False,
        unknown={"later": [1, {"a": None}]},
    )
    assert json.loads(encode(metadata)) == {
        "snapkit": 1,
        "kind": "old",
        "source": 'a"pp',
        "created_at": "2026-01-10T10:30:45Z",
        "strategy": "file-copy",
        "label": "before 4.2 – é",
        "pinned": True,
        "pin_reason": "audit\n2026",
        "comment": "It's ours",
        "is_template": True,
        "allow_connections": False,
        "later": [1, {"a": None}],
    }
    assert encode(metadata).isascii(), "the comments of all databases stand in one catalog, whatever their encoding"


def test_what_it_lacks_is_noted_with_the_access_list_that_it_has_without() -> None:
    lacking = replace(make_metadata(), seal=Seal("alice", 1, -1)).lacking(("setting jit",), 2)
    assert (lacking.not_given, lacking.seal) == (("setting jit",), Seal("alice", 2, -1))
    assert make_metadata().lacking(("setting jit",), 2).seal is None


def test_a_label_can_be_taken_away_and_an_unpinned_entry_has_no_reason() -> None:
    metadata = make_metadata(label="x", pinned=True, pin_reason="y")
    assert metadata.with_label(None).label is None
    assert metadata.with_pin(False, "z").pin_reason is None


@pytest.mark.parametrize("field", ["comment", "label"])
def test_a_document_too_long_to_be_read_back_is_refused(field: str) -> None:
    def build(length: int) -> Metadata:
        return Metadata(Kind.BACKUP, "app", AT, **{field: "é" * length})  # type: ignore[arg-type]

    overhead = len(encode(build(0)).encode())
    fits = (MAX_BYTES - overhead) // len("\\u00e9")
    assert decode(encode(build(fits))) == build(fits)
    with pytest.raises(UsageError, match="longer than snapkit can keep") as caught:
        encode(build(fits + 1))
    assert caught.value.state == "Nothing was changed."


@pytest.mark.parametrize("field", ["label", "pin_reason", "comment", "source"])
def test_text_that_postgresql_cannot_hold_is_refused_when_written(field: str) -> None:
    changes: dict[str, Any] = {field: "not \udcff UTF-8"}
    metadata = replace(make_metadata(label="x", pinned=True), **changes)
    with pytest.raises(UsageError, match="is not UTF-8 text") as caught:
        encode(metadata)
    assert caught.value.state == "Nothing was changed."
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("field", ["source", "label", "pin_reason", "comment", "kind", "created_at", "strategy"])
def test_a_document_with_a_nul_is_nothing(field: str) -> None:
    """JSON can write it, PostgreSQL cannot hold it: not in a name, not in a comment."""
    values = {"kind": "backup", "created_at": "2026-01-10T10:30:45Z", "strategy": "clone"}
    text = document(**{field: f"{values.get(field, 'app')}\0"})
    assert "\\u0000" in text
    assert decode(text) is None


@pytest.mark.parametrize("year", [1, 33, 999])
def test_a_year_of_fewer_than_four_digits_reads_back(year: int) -> None:
    metadata = make_metadata(at=datetime(year, 1, 10, tzinfo=UTC))
    assert decode(encode(metadata)) == metadata


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "The production database",
        "null",
        PREFIX,
        ' {"snapkit":1,"kind":"backup","source":"app","created_at":"2026-01-10T10:30:45Z"}',
        '{"snapkit": 1, "kind": "backup", "source": "app", "created_at": "2026-01-10T10:30:45Z"}'[:40],
        '{"kind":"backup","snapkit":1,"source":"app","created_at":"2026-01-10T10:30:45Z"}',
        document() + "x",
        document()[:-1],
        document(kind=...),
        document(kind="partial"),
        document(kind="clone"),
        document(kind=1),
        document(kind=None),
        document(source=...),
        document(source=None),
        document(source=["app"]),
        document(created_at=...),
        document(created_at=1767950000),
        document(created_at="2026-02-30T10:30:45Z"),
        document(created_at="2026-01-10 10:30:45"),
        document(created_at="2026-01-10T10:30:45+02:00"),
        document(strategy="teleport"),
        document(strategy=18),
        document(label=1),
        document(pinned="yes"),
        document(pinned=1),
        document(pin_reason=[]),
        document(comment={}),
        document(is_template="no"),
        document(not_given="work_mem"),
        document(not_given=["work_mem", 1]),
        document(not_given=["work\0mem"]),
        document(shares_blocks="no"),
        document(snapkit=0),
        document(snapkit=-1),
        document(snapkit=True),
        document(snapkit=1.0),
        document(snapkit="1"),
        document(snapkit=None),
        '{"snapkit":' + "9" * 10_000 + "}",
    ],
)
def test_what_is_not_a_document_of_ours_is_nothing(comment: str | None) -> None:
    assert decode(comment) is None


@pytest.mark.parametrize("value", [None, True, "false", 0])
def test_only_a_plain_false_keeps_a_restored_database_shut(value: object) -> None:
    read = decode(document(allow_connections=value))
    assert isinstance(read, Metadata)
    assert read.allow_connections is True


@pytest.mark.parametrize("key", ["strategy", "label", "pinned", "pin_reason", "comment", "is_template"])
def test_an_optional_key_may_be_null(key: str) -> None:
    assert decode(document(**{key: None})) == make_metadata()


@given(st.integers(VERSION + 1, 10**30), unknown_keys)
def test_a_document_of_a_newer_version_is_recognised_whatever_it_holds(version: int, rest: dict[str, Any]) -> None:
    text = json.dumps({"snapkit": version} | rest, separators=(",", ":"))
    assert decode(text) == NewerDocument(version)


@pytest.mark.parametrize("key", ["source", "label", "comment", "later", "sour\ud800ce"])
def test_half_a_character_that_cannot_be_written_back_is_refused(key: str) -> None:
    assert decode(document(**{key: "half \udc00 a character"})) is None


@given(st.text())
def test_no_text_makes_reading_fail(text: str) -> None:
    assert decode(text) is None
    decode(PREFIX + text)
    decode(PREFIX + "1" + text)


@given(st.dictionaries(st.sampled_from(sorted(KNOWN - {"snapkit"})) | st.text(), json_values), json_values)
def test_no_document_makes_reading_fail(rest: dict[str, Any], version: Any) -> None:
    for text in (json.dumps({"snapkit": value} | rest, separators=(",", ":")) for value in (version, VERSION)):
        assert text.startswith(PREFIX)
        decode(text)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KNOWN - {"snapkit"}, json_values)))
def test_a_wrong_type_anywhere_makes_no_document(values: dict[str, Any]) -> None:
    read = decode(document(**values))
    assert read is None or isinstance(read, Metadata)


@pytest.mark.parametrize("depth", [10, 100, 20_000, 200_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_does_not_make_reading_fail(depth: int, opening: str, closing: str) -> None:
    nested = opening * depth + "1" + closing * depth
    for text in (
        f"{PREFIX}{nested}}}",
        document()[:-1] + f',"later":{nested}}}',
        PREFIX + opening * depth,
    ):
        read = decode(text)
        assert read is None or isinstance(read, Metadata)


@pytest.mark.parametrize("label", [None, "", "v42", "ü" * 200])
def test_what_is_short_enough_stays_as_it_is(label: str | None) -> None:
    assert checked_label(label) == (label or None)
    assert shown_label(label) == (label or "")


def test_a_longer_one_is_refused_and_one_that_stands_somewhere_is_cut() -> None:
    with pytest.raises(UsageError, match="has 201 characters"):
        checked_label("ü" * 201)
    assert shown_label("ü" * 60_000) == "ü" * 199 + "…"


def test_what_a_backup_could_not_be_given_stands_in_its_document() -> None:
    entry = make_entry("app_backup_20260110_103045")
    assert entry.metadata is not None
    noted = replace(entry, metadata=replace(entry.metadata, not_given=("setting work_mem",)))
    assert noted.not_given == ("setting work_mem",)
    assert replace(entry, metadata=None).not_given == ()


def test_where_it_comes_from_is_left_out_where_a_long_comment_needs_the_room() -> None:
    metadata = make_metadata().with_lineage(FIRST, FIRST)
    assert (metadata.lineage, metadata.heir) == (FIRST, FIRST)
    long = replace(metadata, comment="x" * (MAX_BYTES // 2)).with_lineage(FIRST)
    assert (long.lineage, long.heir) == (None, None)


def test_a_boundary_of_many_transactions_is_noted_as_a_later_one() -> None:
    many = Boundary(5, 900, tuple(range(5, 800)), 7)
    assert make_metadata().with_late_after(many).late_after == Boundary(900, 900, (), 7)
    assert make_metadata().with_late_after(at(5)).late_after == at(5)
    long = replace(make_metadata(), comment="x" * (MAX_BYTES // 2))
    assert long.with_late_after(at(5)).late_after is None


def test_a_note_of_a_lineage_that_is_not_understood_is_kept() -> None:
    later = document(lineage={"system": 1, "oid": 2, "from": [], "more": True})
    read = decode(later)
    assert isinstance(read, Metadata)
    assert json.loads(encode(read))["lineage"]["more"] is True
