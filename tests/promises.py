"""What a quick run shows on a real server: each command, each exit code and each of these promises, by one test.

The test says so: ``@pytest.mark.command("undo")``, ``@pytest.mark.promise("an undo can be undone")``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from snapkit.cli.exit_codes import ExitCode
from tests.test_documentation import COMMANDS

PROMISES: Mapping[str, Sequence[str]] = {
    "Nothing is lost": (
        "a rollback puts the live database aside",
        "an undo can be undone",
        "an undo gives a backup back to which nothing was written",
        "--keep-backup keeps the backup",
        "what is pinned stays",
        "the live database cannot be dropped",
        "only what snapkit made is dropped",
        "only what was shown is dropped",
        "one name that is refused keeps all from being dropped",
        "a forged comment proves nothing",
    ),
    "All or nothing": (
        "a rollback is one transaction",
        "a restore brings back the rows of a table, and nothing else",
        "--carry brings late writes along and loses none",
        "a lost answer to COMMIT is asked for",
        "a backup that is interrupted leaves nothing",
        "a full disk leaves the source alone",
        "the crash table is true",
    ),
    "Nothing is left behind": (
        "the next run sweeps what an interrupted one left",
        "a run that is killed leaves no pool paused",
        "a shell that is killed leaves nothing open",
    ),
    "Exact": (
        "privileges, settings, comment and owner come back",
        "a name with a quote in it is a name",
        "an owner gets the settings of extensions back",
        "what a role may not set is named with its statement",
        "a rollback warns of what its backup lacks",
        "a rollback that would let nobody in changes nothing",
        "an online backup is the same as its source",
        "what snapkit does to a backup leaves it ready",
        "diff names exactly the rows that differ",
    ),
    "Sealed": (
        "nobody gets into a backup",
        "nobody gets into a copy while it is made or swapped",
        "a shell opens a backup to its owner alone",
        "a diff leaves the entry sealed as it was",
        "what was opened by hand is no way back",
        "no code of others runs with a superuser's rights",
    ),
    "Brief": (
        "clients that reconnect at once do not stop a backup",
        "clients that reconnect at once do not stop a rollback",
        "a running transaction may end within the grace",
        "clients are held no longer than --max-outage",
        "a clone that would hold clients too long is not begun",
        "--no-disconnect disconnects nobody",
        "the receipt says how long clients were held",
        "an online backup holds nobody",
        "behind PgBouncer no query fails",
        "a client that comes during a pause is served",
        "sessions on a standby see the restored state",
        "a clone does not wait for standbys",
        "a synchronous standby that does not answer holds clients no longer",
        "what no standby has confirmed is told",
        "looking into the live database is in nobody's way",
    ),
    "One moment, one identity": (
        "a backup has the privileges of the moment of its rows",
        "an online backup is of one moment",
        "another database under the live name is not put aside",
        "a drop is of the database that was chosen",
        "what was confirmed is what is done",
        "the newest backup is the one that the server made last",
        "one run at a time",
    ),
    "The way back is taken": (
        "a guarded command that fails is undone",
        "a migration by a tool is undone",
        "bad health is undone",
        "a signal does not keep a guard from rolling back",
        "a way back that is blocked is waited for",
        "a rollback ends a diff that reads its entry",
        "a way back needs no new connection",
        "a way back goes without a PgBouncer that has died",
        "nobody drops the backup of a guard at work",
        "nothing is swapped for a command that wrote nothing",
    ),
    "Plain": (
        "a dry run changes nothing",
        "--sql prints a script that does the same",
        "--json prints one document",
        "results go to stdout, the rest to stderr",
        "a person is shown what will be done, and asked",
        "progress is shown",
        "the answer says where it acts",
        "a second database that is named is warned of",
        "a backup notes its deploy",
        "a backup notes the state of the migrations",
        "a rollback says what was written since",
        "a right that is missing is named with its statement",
        "a session that may not be ended is named with the right that it takes",
        "a refused connection has its reason and remedy",
        "a pooler in between is refused",
        "no password is shown",
        "no secret of a guarded command is shown",
        "the process list shows no password",
        "what others wrote cannot move the cursor",
        "names are completed",
    ),
    "Fits in": (
        "the owner needs no superuser",
        "a .env is all it takes",
        "a flag wins over the environment, and that over the file",
        "the README's commands do what it says",
        "the deploy recipe does what the README says",
        "hooks run around backups and rollbacks",
        "a hook that fails before a run stops it",
        "each run that may change something leaves a line in the audit log",
        "an audit log that cannot be opened stops the run",
    ),
}
"""By the promise of the README that they belong to, or by what else snapkit is to be."""


def to_be_shown() -> Iterator[tuple[str, str]]:
    """The marks that tests have to have: name and word."""
    for promises in PROMISES.values():
        yield from (("promise", promise) for promise in promises)
    yield from (("promise", f"exit code {int(code)}") for code in ExitCode if code is not ExitCode.DONE)
    yield from (("command", command) for command in COMMANDS)
