"""What a superuser can see of the file systems of the server's files."""

from __future__ import annotations

from sqlalchemy import Connection, LargeBinary, Text, func, literal, select, union_all
from sqlalchemy.exc import DBAPIError

from snapkit.core.copying.mounts import share_no_blocks
from snapkit.postgres.connection.sqlstates import is_connection_loss

_PROC = "/proc/self"
_MOST = 1 << 20


def data_shares_no_blocks(connection: Connection) -> bool:
    """Whether it is certain that the file system of the data directory cannot share blocks. Superusers only.

    It looks at the files of tables that this session has open, since it has read them (md.c in PostgreSQL's source
    keeps files open). It can be certain on Linux only. The only error that is raised is a lost connection.
    """
    numbers = func.pg_ls_dir(f"{_PROC}/fd", True, False, type_=Text).column_valued("number")
    paths = union_all(
        select(literal(f"{_PROC}/mountinfo", Text).label("path")),
        select(func.concat(f"{_PROC}/fdinfo/", numbers, type_=Text)),
    ).subquery("paths")
    read = func.pg_read_binary_file(paths.c.path, 0, _MOST, True, type_=LargeBinary)
    try:
        contents = connection.execute(select(read)).scalars().all()
    except DBAPIError as error:
        if is_connection_loss(error):
            raise
        return False
    texts = [bytes(content).decode(errors="replace") for content in contents if content]
    mounts = [text for text in texts if " - " in text]
    return len(mounts) == 1 and share_no_blocks(mounts[0], [text for text in texts if text not in mounts])
