"""Complete the copy once it has all rows: its indexes, keys, triggers and statistics."""

from __future__ import annotations

from collections.abc import Iterator

from snapkit.core.copying.program_messages import event_triggers_last
from snapkit.postgres.copying.programs import Running
from snapkit.postgres.copying.table_copy import analyze
from snapkit.services.copying.online.context import JOBS, RESTORING, CopyContext, SourceContents


def build(context: CopyContext, source: SourceContents) -> None:
    """Build indexes, keys, triggers and all else that pg_restore makes after the rows; then run ANALYZE."""
    context.phase = "Building indexes"

    def work() -> None:
        for options in _post_data(context, source):
            archive = context.directory / "source"
            context.finished(
                context.program(
                    context.programs.restore,
                    "--section=post-data",
                    *options,
                    *RESTORING,
                    archive,
                    database=context.plan.name,
                )
            )
        context.phase = "Gathering statistics"
        with context.server.enter(context.plan.name, context.quiet) as copy:
            analyze(copy, context.group.stopped)

    context.group.run(work)


def _post_data(context: CopyContext, source: SourceContents) -> Iterator[tuple[str, ...]]:
    """Yield the options for each run of pg_restore.

    Event triggers come last: they would fire for the materialized views that pg_restore refreshes.
    """
    jobs = f"--jobs={JOBS}"
    if not source.objects.get("event triggers"):
        yield (jobs,)
        return
    listing = context.directory / "listing"
    words = ("--list", "--section=post-data", f"--file={listing}", context.directory / "source")
    context.finished(Running([context.programs.restore, *words], {}))
    parts = event_triggers_last(listing.read_text(encoding="utf-8", errors="surrogateescape"))
    for name, part, how in zip(("first", "last"), parts, (jobs, "--jobs=1"), strict=True):
        file = context.directory / name
        file.write_text(part, encoding="utf-8", errors="surrogateescape")
        yield f"--use-list={file}", how
