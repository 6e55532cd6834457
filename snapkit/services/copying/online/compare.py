"""Compare the copy with what the source was at the moment that was copied.

Definitions are compared as ``diff`` compares them. What pg_dump prints of both is compared besides: that is a second
proof by a program of others, and it tells of the owners, privileges and comments of large objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from snapkit.core.comparison.definitions import (
    Contents,
    cautions_of,
    compare_contents,
    compare_definitions,
    compare_given,
    compare_numbers,
)
from snapkit.core.comparison.schema.copied import compare_copied
from snapkit.core.copying.division import Table
from snapkit.core.reporting import Caution
from snapkit.postgres.connection.server import Connection
from snapkit.postgres.copying.programs import Running
from snapkit.postgres.copying.table_copy import settle
from snapkit.services.copying.online.context import JOBS, CopyContext, SourceContents

_LARGE = "large objects"


def compare(context: CopyContext, source: SourceContents) -> tuple[Caution, ...]:
    """Compare definitions, rows and large objects; raise SnapkitError, which names what differs.

    Returns warnings of what such a copy cannot have.
    """
    context.phase = "Comparing"
    differing: list[str] = []
    cautions: list[Caution] = []

    def look() -> None:
        dumped, copied = context.directory / "source", context.directory / "copy"
        context.dump_definitions(context.plan.name, copied)
        differing.extend(compare_definitions(_text(context, dumped), _text(context, copied)))
        with _in_copy(context) as copy:
            differing.extend(compare_copied(source.definitions, context.definitions(copy)))
            differing.extend(compare_numbers(source.objects, context.numbers_of_objects(copy)))
            left_out = context.left_out(copy)
            differing.extend(compare_given(source.left_out.given, left_out.given)[0])
            cautions.extend(cautions_of(source.left_out, left_out))
            large = context.large_objects(copy)
            differing.extend(compare_contents({_LARGE: source.large_objects}, {_LARGE: large}))
            found.update(context.contents_of(copy, source.division.rest))

    def add_up(tables: Sequence[Table]) -> Callable[[], None]:
        def work() -> None:
            with _in_copy(context) as copy:
                found.update(context.contents_of(copy, [table.as_compared for table in tables]))

        return work

    relayed, found = source.division.relayed, dict[str, Contents]()
    context.group.run(look, *(add_up(some) for n in range(JOBS) if (some := relayed[n::JOBS])))
    differing.extend(f"rows of {each}" for each in compare_contents(source.rows, found))
    if differing:
        raise context.differs(differing)
    return tuple(cautions)


@contextmanager
def _in_copy(context: CopyContext) -> Iterator[Connection]:
    with context.server.enter(context.plan.name, context.quiet) as copy:
        settle(copy, context.settings)
        yield copy


def _text(context: CopyContext, dump: Path) -> str:
    script = dump.with_suffix(".sql")
    context.finished(Running([context.programs.restore, f"--file={script}", dump], {}))
    return script.read_text(encoding="utf-8", errors="surrogateescape")
