"""The recipes of README and docs, as a user would run them, on a database with rows, by what they bring about."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

from tests.pages import DOCS, ROOT, Begin, Desk, block, check_all_are_known
from tests.sandbox import Sandbox

NOT_RUN: Mapping[Begin, str] = {
    ("README.md", "$ snapkit backup --label 'before v42'"): "what a run printed; the commands are run below",
    ("README.md", "python3 -m venv .venv && .venv/bin/pip install -q '.[embedded]' && .venv/bin/snapkit demo"): "CI",
    ("README.md", "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest"): "CI",
    ("README.md", "pipx install .          # from a clone of this repository; or: pip install ."): "as the two above",
    ("architecture.md", "snapkit/        errors"): "a drawing, tests/test_documentation.py",
    ("automation.md", "# snapkit.toml; in pyproject.toml the tables are [tool.snapkit] and [tool.snapkit.hooks]"): (
        "read below; programs of its hooks are not here"
    ),
    ("automation.md", '{"audit_version": 1'): "a line of the log, tests/server/test_audit.py",
    ("automation.md", "$ snapkit status --max-age 24h --json"): "what a run printed; run below",
    ("automation.md", "groups:"): "Prometheus' rules, tests/server/test_status.py has the metrics",
    ("deploys.md", "$ snapkit list"): "what a run printed",
    ("deploys.md", "Written since  about 105 rows"): "what a run printed",
    ("guard.md", "snapkit guard --carry"): "tests/server/test_tasks.py runs it, from late-writes.md",
    ("guard.md", "snapkit rollback --latest --carry"): "likewise",
    ("poolers.md", "snapkit backup            --pgbouncer-url"): "with a PgBouncer, tests/server/test_poolers.py",
    ("poolers.md", 'psql "$CONSOLE"'): "for poolers that are not here; the page says that they were not tried",
    ("reference.md", "{"): "an example of the envelope, tests/cli/test_contract.py",
    ("reference.md", "snapkit config"): "tests/cli/test_config.py",
    ("reference.md", "snapkit demo --keep"): "CI",
    ("reference.md", "snapkit diff "): "names other entries and tables; each form is in tests/server/test_diff.py",
    ("reference.md", "snapkit restore "): "likewise, tests/server/test_restore.py",
}
"""Blocks that are not run as they stand, by page and beginning, and why."""

EXAMPLES = (
    "snapkit backup --label", "snapkit list --sizes", 'snapkit show "before v42"', "snapkit status --max-age",
    "snapkit rollback --latest", "snapkit undo", "snapkit prune --keep", 'snapkit delete "before v42"',
    'snapkit pin "before v42"', 'snapkit unpin "before v42"', 'snapkit label "before v42"',
    'snapkit adopt "before v42"', "snapkit doctor", "snapkit recover --all", "snapkit guard --keep",
)  # fmt: skip
"""The beginnings of the reference's examples, one for each command."""

RUN: Mapping[Begin, str] = {
    **{("reference.md", begin): "test_the_examples_of_the_reference" for begin in EXAMPLES},
    ("README.md", "DATABASE_URL=postgresql://"): "test_the_four_commands_of_the_readme",
    ("README.md", "snapkit backup                # an exact clone"): "test_the_four_commands_of_the_readme",
    ("README.md", "snapkit diff "): "test_what_changed_is_seen_and_brought_back",
    ("README.md", "snapkit guard --health-url"): "test_the_deploy_recipe",
    ("guard.md", "snapkit guard --health-url"): "test_the_deploy_recipe",
    ("automation.md", "#!/bin/sh"): "test_the_textfile_for_prometheus",
    ("reference.md", 'snapkit shell "before v42"   '): "test_a_look_into_a_backup",
    ("reference.md", 'snapkit shell "before v42" -- psql -c "\\copy'): "test_rows_come_back_without_a_rollback",
}


def test_every_block_is_run_or_says_why_not() -> None:
    made = ("commands.md", "crash-table.md", "performance.md")  # by programs, which are tested
    elsewhere = ("index.md", "install.md")  # as the pages of tasks: tests/server/test_tasks.py
    pages = [page for page in DOCS.glob("*.md") if page.name not in made + elsewhere]
    check_all_are_known([ROOT / "README.md", *pages], RUN, NOT_RUN, globals())


@pytest.mark.promise("the README's commands do what it says", "a .env is all it takes")
def test_the_four_commands_of_the_readme(sandbox: Sandbox, desk: Desk) -> None:
    backup, listing, rollback, prune = block("README.md", "snapkit backup                # an").splitlines()
    assert desk.type(backup).code == 0
    assert "backup" in desk.type(listing).out
    sandbox.ruin()
    assert desk.type(rollback).code == 0
    assert len(sandbox.items()) == 100
    for _ in range(3):
        assert desk.type(backup).code == 0
    assert desk.type(prune).code == 0
    assert len([entry for entry in sandbox.entries() if entry.kind == "backup"]) == 2


def test_what_changed_is_seen_and_brought_back(sandbox: Sandbox, desk: Desk) -> None:
    sandbox.back_up()
    with sandbox.connect() as connection:
        connection.execute("DELETE FROM item WHERE id > 60")
    look, try_, restore, take_back = block("README.md", "snapkit diff ").splitlines()
    assert "differs from" in desk.type(look).out
    assert desk.type(try_).code == 0
    assert len(sandbox.items()) == 60
    assert desk.type(restore).code == 0
    assert len(sandbox.items()) == 100
    assert desk.type(take_back).code == 0
    assert len(sandbox.items()) == 60


@pytest.mark.parametrize(
    "page",
    [pytest.param("README.md", marks=pytest.mark.promise("the deploy recipe does what the README says")), "guard.md"],
)
def test_the_deploy_recipe(sandbox: Sandbox, desk: Desk, page: str) -> None:
    recipe = block(page, "snapkit guard --health-url").replace("--health-url https://app.example/health", "")
    desk.script("migrate", "#!/bin/sh\npsql -v ON_ERROR_STOP=1 -c 'DELETE FROM item WHERE id > 10'\n")
    desk.script("deploy", "#!/bin/sh\ntest ! -e broken\n")
    desk.script("programs_alembic", "#!/bin/sh\n./migrate && ./deploy\n")
    recipe = recipe.replace("alembic upgrade head", "./programs_alembic")
    (desk.place / "broken").touch()
    assert desk.type(recipe).code == 20
    assert len(sandbox.items()) == 100
    (desk.place / "broken").unlink()
    done = desk.type(recipe)
    assert (done.code, len(sandbox.items())) == (0, 10), done


@pytest.mark.parametrize("begin", EXAMPLES)
def test_the_examples_of_the_reference(sandbox: Sandbox, desk: Desk, begin: str) -> None:
    """Each line does what it is there for, where there are three backups, and one is labelled as in the examples."""
    for label in ("before v41", "before v42", "before v43"):
        sandbox.back_up(label=label)
    (named,) = (entry for entry in sandbox.entries() if entry.label == "before v42")
    if begin == "snapkit undo":
        sandbox.roll_back("before v42")
    if begin.startswith("snapkit adopt"):
        sandbox.execute(f'ALTER DATABASE "{named.name}" ALLOW_CONNECTIONS true')
    desk.script("programs_alembic", "#!/bin/sh\npsql -v ON_ERROR_STOP=1 -c 'DELETE FROM item WHERE id > 10'\n")
    for line in block("reference.md", begin).replace("alembic upgrade head", "./programs_alembic").splitlines():
        done = desk.type(line)
        assert done.code == 0, (line, done)


def test_the_textfile_for_prometheus(sandbox: Sandbox, desk: Desk) -> None:
    sandbox.back_up()
    script = block("automation.md", "#!/bin/sh").replace("/var/lib/node_exporter/textfile", str(desk.place))
    assert desk.type(script).code == 0
    assert f'snapkit_backups{{source="{sandbox.name}"}} 1' in (desk.place / "snapkit.prom").read_text()
    (desk.place / ".env").write_text("DATABASE_URL=postgresql://app@127.0.0.1:1/app\n")
    desk.type(script)
    assert [path.name for path in desk.place.glob("snapkit.prom*")] == ["snapkit.prom"]  # the alert goes by its time


def test_a_look_into_a_backup(sandbox: Sandbox, desk: Desk) -> None:
    sandbox.back_up(label="before v42")
    sandbox.ruin()
    plain, query, report = block("reference.md", 'snapkit shell "before v42"   ').splitlines()
    desk.script(
        "report.py",
        f"#!{sys.executable}\nimport os, psycopg\nwith psycopg.connect(os.environ['DATABASE_URL']) as connection:\n"
        "    print(connection.execute('SELECT count(*) FROM item').fetchone())\n",
    )
    assert desk.type(f"echo 'SELECT count(*) FROM item' | {plain.partition('#')[0]}").out.split()[2] == "100"
    assert "item 42" in desk.type(query).out
    assert desk.type(report).out == "(100,)\n"


def test_rows_come_back_without_a_rollback(sandbox: Sandbox, desk: Desk) -> None:
    """Those that are lost, and only those; the sequence goes on from where it is, and an error is an error."""
    with sandbox.connect() as connection:
        connection.execute("CREATE SEQUENCE item_id OWNED BY item.id")
        connection.execute("ALTER TABLE item ALTER id SET DEFAULT nextval('item_id')")
        connection.execute("SELECT setval('item_id', 100)")
    sandbox.back_up(label="before v42")
    with sandbox.connect() as connection:
        connection.execute("INSERT INTO item (name) SELECT 'newer' FROM generate_series(1, 20)")
        connection.execute("UPDATE item SET name = 'changed since' WHERE id = 7")
        connection.execute("DELETE FROM item WHERE id BETWEEN 20 AND 30")
    recipe = block("reference.md", 'snapkit shell "before v42" -- psql -c "\\copy')
    done = desk.type(recipe)
    assert done.code == 0, done
    with sandbox.connect() as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchall() == [(120,)]
        assert connection.execute("SELECT name FROM item WHERE id IN (7, 25) ORDER BY id").fetchall() == [
            ("changed since",),
            ("item 25",),
        ]
        assert connection.execute("SELECT nextval('item_id')").fetchall() == [(121,)]
    failed = desk.type(recipe.replace("INSERT INTO item ", "INSERT INTO itme "))
    assert failed.code == 20, failed


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+asyncpg", "postgres"])
def test_psql_gets_there_whatever_driver_the_url_is_for(sandbox: Sandbox, desk: Desk, driver: str) -> None:
    """The user's own form stays in the variable where the program expects it; libpq's programs need none."""
    theirs = sandbox.url.replace("postgresql", driver, 1)
    (desk.place / ".env").write_text(f"DATABASE_URL='{theirs}'\n")
    sandbox.back_up(label="before v42")
    which = 'psql -XAtc "SELECT current_database()"; echo $DATABASE_URL; psql -XAtc "SELECT 1" "$DIRECT_URL"'
    ran = desk.type(f"snapkit shell 'before v42' -- sh -c '{which}'")
    name, url, one = ran.out.split()
    assert (ran.code, one) == (0, "1"), ran
    assert name.startswith(f"{sandbox.name}_backup_")
    assert url == theirs.replace(sandbox.name, name)
    ran = desk.type("snapkit guard -- sh -c 'psql -XAtc \"SELECT current_database()\"; echo $DATABASE_URL'")
    assert ran.out.split() == [sandbox.name, theirs], ran
    ran = desk.type(
        "snapkit guard -- psql -XAtc 'SELECT current_database()'", PGDATABASE="postgres", PGHOST="elsewhere",
        DATABASE_URL=theirs,
    )  # fmt: skip
    assert ran.out.split() == [sandbox.name], ran
    service = desk.place / "services"
    place = sandbox.cluster.root
    service.write_text(f"[it]\nhost={place}\nport={sandbox.cluster.port}\nuser=postgres\ndbname={sandbox.name}\n")
    ran = desk.type(
        "rm .env; snapkit guard -- psql -XAtc 'SELECT current_database()'", PGSERVICE="it", PGSERVICEFILE=str(service)
    )
    assert ran.out.split() == [sandbox.name], ran
