"""Which file systems can share blocks between files, as Linux names them."""

from __future__ import annotations

from collections.abc import Collection

_SHARE_NONE = frozenset(("ext2", "ext3", "ext4"))
"""Those of which it is certain. With others it depends on how they were made (XFS), or on what is below (overlay)."""

_READ_WRITE = 0o2
_ACCESS_MODE = 0o3


def share_no_blocks(mounts: str, descriptors: Collection[str]) -> bool:
    """Whether all the files that a process has open for reading and writing lie where no blocks can be shared.

    ``mounts`` is its ``/proc/self/mountinfo``, ``descriptors`` what ``/proc/self/fdinfo`` says of its open files. It
    goes by these, and not by paths, which may be symbolic links. False where there is no such file, or any doubt.
    https://docs.kernel.org/filesystems/proc.html
    """
    kinds = dict(_mount(line) for line in mounts.splitlines() if " - " in line)
    open_files = [dict(_field(line) for line in each.splitlines() if ":" in line) for each in descriptors]
    found = {
        kinds[each["mnt_id"]]
        for each in open_files
        if int(each.get("flags", "0"), 8) & _ACCESS_MODE == _READ_WRITE and each.get("mnt_id") in kinds
    }
    on_disk = found - {"devtmpfs", "devpts", "tmpfs"}  # devices, terminals and shared memory
    return bool(on_disk) and on_disk <= _SHARE_NONE


def _mount(line: str) -> tuple[str, str]:
    """Return the mount's number, and the type of its file system."""
    return line.split(" ", 1)[0], line.partition(" - ")[2].split(" ", 1)[0]


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()
