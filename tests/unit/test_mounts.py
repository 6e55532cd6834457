"""Whether it is certain that a server's files lie where no blocks can be shared."""

from __future__ import annotations

import pytest

from snapkit.core.copying.mounts import share_no_blocks

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,size=12334432k
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 27 254:16 / /data/with\\040blank rw,relatime shared:2 master:1 - xfs /dev/vdb rw
40 27 0:50 / /over rw - overlay overlay rw,lowerdir=/a
nonsense
"""


def descriptor(mount: int, flags: str = "02100002") -> str:
    return f"pos:\t0\nflags:\t{flags}\nmnt_id:\t{mount}\nino:\t6007536\n"


@pytest.mark.parametrize(
    ("descriptors", "certain"),
    [
        ([descriptor(27)], True),
        ([descriptor(27), descriptor(24)], True),
        ([descriptor(27), descriptor(16, "00")], True),
        ([descriptor(27), descriptor(31, "0100000")], True),
        ([descriptor(27), descriptor(31, "0102001")], True),
        ([descriptor(27), descriptor(31)], False),
        ([descriptor(31)], False),
        ([descriptor(40)], False),
        ([descriptor(24)], False),
        ([descriptor(27, "0100000")], False),
        ([descriptor(99)], False),
        (["flags:\t02\n", "nonsense"], False),
        ([], False),
    ],
)
def test_it_goes_by_the_files_that_are_open_for_writing(descriptors: list[str], certain: bool) -> None:
    assert share_no_blocks(MOUNTS, descriptors) is certain


def test_without_mounts_nothing_is_certain() -> None:
    assert not share_no_blocks("", [descriptor(27)])
