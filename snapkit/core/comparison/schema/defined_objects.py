"""An object of a database as it is defined: what is read of it, so that it can be compared with another."""

from __future__ import annotations

from typing import NamedTuple

UNDO_SCHEMA = "snapkit_undo"
"""The schema in which ``restore`` keeps what it has replaced. It is no part of a comparison."""


INVALID = "-- invalid"
"""The line that says that an index is not used: it was never completed."""

DISABLED = "-- its triggers are disabled"
"""The line that says that a foreign key is not checked."""


class Definition(NamedTuple):
    """One object, with its definition as PostgreSQL prints it.

    An address is ``catalog.oid.part``, as in pg_depend (classid, objid, objsubid). A clone has the same ones.
    https://www.postgresql.org/docs/current/catalog-pg-depend.html
    """

    address: str
    object: str
    """Its kind, in small letters."""
    schema: str | None
    path: tuple[str, ...]
    """Its name, behind that of the table it lies on."""
    title: str
    """How a statement names it, as in ``TABLE public.orders``."""
    text: str
    tail: str = ""
    """What follows the text, line by line; of a table the columns stand in between."""
    raw: str = ""
    """A hash of its rows in the catalogs. It is the same as long as nobody changes the object itself, even if something
    that the object names is renamed."""
    scope: str | None = None
    """The address of the object in which its name is unique; None: its name is unique in the database."""
    parent: str | None = None
    """The address of the object that it belongs to: it is added and removed with that one."""
    origin: str | None = None
    """The address of what it is a copy of: for what a partition or a child table has inherited."""
    owner: str | None = None
    """Its owner, quoted where an identifier has to be; None: it goes with what it belongs to."""
    hidden: str = ""
    """A hash of what is compared but not shown, such as a password."""
    place: int = 0
    """Its place among its like; of a column its number."""

    @property
    def is_remark(self) -> bool:
        """Whether it is something said of an object, such as a comment, and no object itself."""
        return " " in self.address

    @property
    def is_default_privilege(self) -> bool:
        return self.address.endswith(" default")

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def shown(self) -> str:
        """Its definition alone, without what belongs to it."""
        return f"{self.text}\n{self.tail}" if self.tail else self.text
