"""A page is written whole or not at all, and whether it can be is known before the long work."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from snapkit.cli.page_file import check_page_file, write_page
from snapkit.errors import OutputError, UsageError


def test_a_page_is_written_in_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    for page in ("<p>ä", "<p>another"):
        check_page_file(path)
        write_page(path, page)
        assert path.read_text(encoding="utf-8") == page
    assert list(tmp_path.iterdir()) == [path]


def test_the_check_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    check_page_file(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("mine")
    check_page_file(path)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_a_file_keeps_its_mode(tmp_path: Path) -> None:
    real, link = tmp_path / "real.html", tmp_path / "link.html"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_page(link, "new")
    assert link.is_symlink()
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o640)


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_page(tmp_path / "page.html", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o640


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory") as raised:
        check_page_file(tmp_path)
    assert raised.value.changed_nothing


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "none" / "page.html"
    with pytest.raises(UsageError, match=r"cannot be written to .*No such file or directory"):
        check_page_file(path)
    with pytest.raises(OutputError, match=r"cannot be written to .*No such file or directory"):
        write_page(path, "new")


def test_what_fails_midway_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_page(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    check_page_file(path)
    writer = threading.Thread(target=write_page, args=(path, "page"))
    writer.start()
    assert path.read_text() == "page"
    writer.join()
    path.chmod(0o400)
    if os.geteuid() != 0:
        with pytest.raises(UsageError, match="You may not write to it"):
            check_page_file(path)
