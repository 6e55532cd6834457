"""The pages of tasks: their commands do what the page says, and their files are such as their program takes.

What the pages run elsewhere than here (``/srv/app``, ``/opt/snapkit``, ``./deploy.sh``) is put in place of that.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.pages import DOCS, Begin, Desk, block, check_all_are_known
from tests.sandbox import Ran, Sandbox

NIGHTLY, TABLE, CHANGED = "tasks/nightly-backups.md", "tasks/one-table.md", "tasks/what-changed.md"
STAGING, COMPOSE, KUBERNETES = "tasks/refresh-staging.md", "tasks/compose.md", "tasks/kubernetes.md"
LATE = "tasks/late-writes.md"
GITHUB, GITLAB = "tasks/github-actions.md", "tasks/gitlab-ci.md"

NOT_RUN: Mapping[Begin, str] = {
    ("install.md", "pipx install ."): "as the next",
    ("install.md", "python3 -m venv .venv && .venv/bin/pip wheel"): "CI",
    ("install.md", "python3 -m venv /opt/snapkit"): "CI",
    ("install.md", "COPY vendor"): "needs a builder of images; the command is that of CI",
    ("install.md", "FROM python"): "likewise",
    (NIGHTLY, "systemctl daemon-reload"): "needs systemd at work; the units are checked, and what they run is run",
    (KUBERNETES, "kubectl create secret"): "needs a cluster",
    (CHANGED, "shop differs from"): "what a run printed",
    (CHANGED, "public.item: 3 changed rows"): "likewise",
}
RUN: Mapping[Begin, str] = {
    ("index.md", "snapkit backup"): "test_the_commands_of_the_first_page",
    ("install.md", "DATABASE_URL="): "test_the_database_is_named_and_looked_at",
    ("install.md", "snapkit doctor"): "test_the_database_is_named_and_looked_at",
    (NIGHTLY, "cd /srv/app && snapkit doctor"): "test_the_line_for_cron",
    (NIGHTLY, "15 3 * * *"): "test_the_line_for_cron",
    (NIGHTLY, "[Unit]\nDescription=Nightly backup of the database\nWants"): "test_what_the_units_run",
    (NIGHTLY, "[Unit]\nDescription=Nightly backup of the database\n\n[Timer]"): "test_systemd_takes_the_units",
    (NIGHTLY, "apiVersion: batch/v1"): "test_the_nightly_job_of_kubernetes",
    (NIGHTLY, "keep-daily = 7"): "test_the_rule_in_the_settings_file",
    (NIGHTLY, "snapkit status"): "test_the_rule_in_the_settings_file",
    (TABLE, "snapkit diff"): "test_some_rows_come_back",
    (TABLE, 'snapkit restore "before v42" --table item --only missing'): "test_some_rows_come_back",
    (TABLE, 'snapkit restore "before v42" --table item --only changed'): "test_some_rows_come_back",
    (TABLE, 'snapkit restore "before v42" --table item --exact'): "test_some_rows_come_back",
    (TABLE, "snapkit restore --undo"): "test_some_rows_come_back",
    (TABLE, 'snapkit shell "before v42" -- pg_dump'): "test_a_dropped_table_comes_back",
    (CHANGED, 'snapkit diff "before v42"'): "test_what_changed",
    (CHANGED, 'snapkit diff "before v42" --table'): "test_what_changed",
    (CHANGED, 'snapkit diff "before v42" --rows'): "test_what_changed",
    (CHANGED, 'snapkit diff "before v42" --schema-only'): "test_what_changed_for_a_script",
    (CHANGED, 'snapkit diff "before v42" --json'): "test_what_changed_for_a_script",
    (CHANGED, 'snapkit rollback "before v42" --dry-run'): "test_what_changed",
    (LATE, "snapkit guard --carry"): "test_late_writes_are_kept",
    (LATE, "OLD="): "test_late_writes_are_kept",
    (LATE, 'snapkit restore "$OLD"'): "test_late_writes_are_kept",
    (LATE, "snapkit rollback --latest --carry"): "test_a_rollback_by_hand_keeps_what_clients_wrote",
    (STAGING, "pg_dump --format"): "test_staging_is_refreshed_and_put_back",
    (STAGING, "#!/bin/sh"): "test_staging_is_refreshed_and_put_back",
    (STAGING, 'snapkit guard --label "before refresh"'): "test_staging_is_refreshed_and_put_back",
    (STAGING, "snapkit backup --label fresh"): "test_staging_is_refreshed_and_put_back",
    (STAGING, "snapkit rollback fresh"): "test_staging_is_refreshed_and_put_back",
    (STAGING, "snapkit unpin fresh"): "test_staging_is_refreshed_and_put_back",
    (COMPOSE, "services:"): "test_the_migration_of_containers",
    (COMPOSE, "docker compose run"): "test_compose_by_hand",
    (KUBERNETES, "apiVersion: batch/v1"): "test_the_migration_of_containers",
    (GITHUB, "name: deploy"): "test_a_deploy_from_ci",
    (GITLAB, "deploy:"): "test_a_deploy_from_ci",
}
SCHEMAS: Mapping[Begin, str] = {
    (COMPOSE, "services:"): "vendor.compose-spec",
    (GITHUB, "name: deploy"): "vendor.github-workflows",
    (GITLAB, "deploy:"): "vendor.gitlab-ci",
}


def test_every_block_is_run_or_says_why_not() -> None:
    pages = [DOCS / "index.md", DOCS / "install.md", *(DOCS / "tasks").glob("*.md")]
    check_all_are_known(pages, RUN, NOT_RUN, globals())


def run(desk: Desk, text: str, **environment: str) -> Ran:
    """Run a block, with this machine's places in place of the page's."""
    here = text.replace("/srv/app", str(desk.place)).replace("/opt/snapkit/bin/", "")
    here = here.replace(" --health-url https://app.example/health", "").replace("alembic upgrade head", "./migrate")
    return desk.type(here, **environment)


def succeed(desk: Desk, text: str, **environment: str) -> Ran:
    done = run(desk, text, **environment)
    assert done.code == 0, (text, done)
    return done


def labels(sandbox: Sandbox) -> list[str | None]:
    return [entry.label for entry in sandbox.entries() if entry.kind == "backup"]


def read_yaml(page: str, begin: str) -> Any:
    return YAML(typ="safe").load(block(page, begin))


def container_of(manifest: Any) -> Any:
    """Return the one container that a Job, or a Job's template, has."""
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize(("page", "begin"), SCHEMAS)
def test_a_file_is_as_its_program_takes_it(page: str, begin: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yml"
    file.write_text(block(page, begin))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[page, begin], str(file)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done


def test_the_commands_of_the_first_page(sandbox: Sandbox, desk: Desk) -> None:
    backup, listing, rollback, undo, prune = block("index.md", "snapkit backup").splitlines()
    succeed(desk, backup)
    assert f"{sandbox.name}_backup_" in succeed(desk, listing).out
    sandbox.ruin()
    succeed(desk, rollback)
    assert len(sandbox.items()) == 100
    succeed(desk, undo)
    assert len(sandbox.items()) == 10
    for _ in range(3):
        succeed(desk, backup)
    succeed(desk, prune)
    assert len(labels(sandbox)) == 2


def test_the_database_is_named_and_looked_at(sandbox: Sandbox, desk: Desk) -> None:
    name, _, _ = block("install.md", "DATABASE_URL=").partition("=")
    (desk.place / ".env").write_text(f"{name}={sandbox.url}\n")
    succeed(desk, block("install.md", "snapkit doctor"))


@pytest.mark.any_version
def test_the_line_for_cron(sandbox: Sandbox, desk: Desk) -> None:
    """Nothing is printed, so that cron sends no mail, but an error."""
    succeed(desk, block(NIGHTLY, "cd /srv/app && snapkit doctor"))
    line = block(NIGHTLY, "15 3 * * *")
    assert "%" not in line, "cron takes that for the end of the line"
    *when, command = line.split(maxsplit=5)
    assert all(re.fullmatch(r"\*|\d+", each) for each in when)
    for _ in range(2):
        done = succeed(desk, command)
        assert (done.out, done.err) == ("", "")
    assert labels(sandbox) == ["nightly"]  # of one day, the newest
    (desk.place / ".env").write_text("DATABASE_URL=postgresql://app@127.0.0.1:1/app\n")
    failed = run(desk, command)
    assert failed.code == 12
    assert failed.out == ""
    assert failed.err


@pytest.fixture
def nights(sandbox: Sandbox) -> Sandbox:
    """It has a backup of each of the last eight days but today."""
    today = datetime.now(UTC)
    for ago in range(8, 0, -1):
        name = sandbox.back_up(label=f"{ago} days ago").backup.name
        sandbox.date(name, f"{today - timedelta(days=ago):%Y-%m-%dT%H:%M:%SZ}")
    return sandbox


@pytest.mark.any_version
def test_seven_nights_are_kept(nights: Sandbox, desk: Desk) -> None:
    *_, command = block(NIGHTLY, "15 3 * * *").split(maxsplit=5)
    succeed(desk, command)
    assert labels(nights) == ["nightly", *(f"{ago} days ago" for ago in range(1, 7))]


@pytest.mark.any_version
def test_a_deploy_keeps_the_nights_if_the_file_says_so(nights: Sandbox, desk: Desk) -> None:
    file = desk.place / "snapkit.toml"
    file.write_text(block(NIGHTLY, "keep-daily = 7"))
    succeed(desk, "snapkit guard --label deploy --keep 2 -- true")
    assert labels(nights) == ["deploy", *(f"{ago} days ago" for ago in range(1, 7))]
    file.unlink()
    succeed(desk, "snapkit guard --label another --keep 2 -- true")
    assert labels(nights) == ["another", "deploy"]


def units(tmp_path: Path) -> list[Path]:
    """Write the units as files; what they run is there."""
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "snapkit").symlink_to("/bin/true")
    files = []
    for kind, begin in (("service", "Wants"), ("timer", "\n[Timer]")):
        file = tmp_path / f"snapkit-backup.{kind}"
        text = block(NIGHTLY, f"[Unit]\nDescription=Nightly backup of the database\n{begin}")
        file.write_text(text.replace("/opt/snapkit/bin", str(tmp_path / "programs")).replace("User=app", "User=root"))
        files.append(file)
    return files


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    files = units(tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "snapkit-backup" in line]
    assert (done.returncode, complaints) == (0, []), done
    (when,) = re.findall(r"OnCalendar=(.*)", files[1].read_text())
    calendar = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True, check=False)
    assert "03:15:00 UTC" in calendar.stdout, calendar


@pytest.mark.any_version
def test_what_the_units_run(sandbox: Sandbox, desk: Desk) -> None:
    service = block(NIGHTLY, "[Unit]\nDescription=Nightly backup of the database\nWants")
    backup, prune = re.findall(r"^ExecStart=(.*)", service, re.MULTILINE)
    for command in (backup, backup, prune):
        succeed(desk, command)
    assert labels(sandbox) == ["nightly"]


@pytest.mark.any_version
def test_the_nightly_job_of_kubernetes(sandbox: Sandbox, desk: Desk) -> None:
    manifest = read_yaml(NIGHTLY, "apiVersion: batch/v1")
    assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "CronJob")
    for _ in range(2):
        succeed(desk, shlex.join(container_of(manifest["spec"]["jobTemplate"])["command"]))
    assert labels(sandbox) == ["nightly"]


@pytest.mark.any_version
def test_the_rule_in_the_settings_file(sandbox: Sandbox, desk: Desk) -> None:
    status = block(NIGHTLY, "snapkit status")
    assert run(desk, status).code == 10
    sandbox.back_up()
    sandbox.back_up(label="newer")
    assert run(desk, status).code == 0
    assert run(desk, "snapkit prune").code == 2
    (desk.place / "snapkit.toml").write_text(block(NIGHTLY, "keep-daily = 7"))
    succeed(desk, "snapkit prune")
    assert labels(sandbox) == ["newer"]


@pytest.fixture
def changed(sandbox: Sandbox) -> Sandbox:
    """Since the backup "before v42" rows were deleted, changed and added."""
    sandbox.back_up(label="before v42")
    with sandbox.connect() as connection:
        connection.execute("DELETE FROM item WHERE id BETWEEN 20 AND 30")
        connection.execute("UPDATE item SET name = 'changed since' WHERE id = 7")
        connection.execute("INSERT INTO item VALUES (101, 'newer')")
    return sandbox


def names(sandbox: Sandbox, *ids: int) -> list[str | None]:
    rows = dict(sandbox.items())
    return [rows.get(each) for each in ids]


def section(page: str, title: str) -> str:
    """Return the first block of a page's section: several blocks of a page may begin alike."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"# {title}\n")[2].partition("\n#")[0]
    return str(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0])


def test_some_rows_come_back(changed: Sandbox, desk: Desk) -> None:
    looked = succeed(desk, section(TABLE, "Look first")).out
    assert "13 rows" in looked
    assert names(changed, 7, 25, 101) == ["changed since", None, "newer"]
    succeed(desk, section(TABLE, "Rows that were deleted"))
    assert names(changed, 7, 25, 101) == ["changed since", "item 25", "newer"]
    succeed(desk, section(TABLE, "Rows that were changed"))
    assert names(changed, 7, 25, 101) == ["item 7", "item 25", "newer"]
    succeed(desk, section(TABLE, "All rows as they were"))
    assert names(changed, 7, 25, 101) == ["item 7", "item 25", None]
    succeed(desk, section(TABLE, "Take it back"))
    assert names(changed, 7, 25, 101) == ["item 7", "item 25", "newer"]


def test_late_writes_are_kept(sandbox: Sandbox, desk: Desk) -> None:
    desk.script("migrate", "#!/bin/sh\npsql -c \"UPDATE item SET name = 'ruined' WHERE id <= 10\"\n")
    late = "UPDATE item SET name = 'late' WHERE id = 7; INSERT INTO item VALUES (101, 'late') ON CONFLICT DO NOTHING"
    desk.script("health", f'#!/bin/sh\npsql -c "{late}"\nfalse\n')
    guard = section(LATE, "Roll back, and keep what clients wrote")
    failed = run(
        desk, guard.replace("--health-url https://app.example/health", "--health-command ./health --health-timeout 1s")
    )
    assert failed.code == 20, failed
    assert "item (id=7)" in failed.out + failed.err, failed
    assert names(sandbox, 1, 7, 101) == ["item 1", "item 7", "late"]
    look, settle = section(LATE, "See what stayed aside"), section(LATE, "Settle conflicts")
    assert "ruined" in succeed(desk, look).out
    succeed(desk, look + settle)
    assert names(sandbox, 1, 7, 101) == ["item 1", "late", "late"]


def test_a_rollback_by_hand_keeps_what_clients_wrote(changed: Sandbox, desk: Desk) -> None:
    with changed.connect() as connection:
        connection.execute("CREATE TABLE ruined AS SELECT 1")
    succeed(desk, section(LATE, "After a rollback by hand"))
    assert names(changed, 7, 25, 101) == ["changed since", None, "newer"]
    with changed.connect() as connection:
        assert connection.execute("SELECT to_regclass('ruined')").fetchall() == [(None,)]


def test_a_dropped_table_comes_back(sandbox: Sandbox, desk: Desk) -> None:
    with sandbox.connect() as connection:
        connection.execute("ALTER TABLE item ADD COLUMN number int GENERATED BY DEFAULT AS IDENTITY")
        connection.execute("CREATE INDEX item_name ON item (name)")
    sandbox.back_up(label="before v42")
    with sandbox.connect() as connection:
        connection.execute("DROP TABLE item")
    succeed(desk, section(TABLE, "A table that was dropped"))
    assert len(sandbox.items()) == 100
    with sandbox.connect() as connection:
        assert connection.execute("SELECT to_regclass('item_name') IS NOT NULL").fetchall() == [(True,)]
        connection.execute("INSERT INTO item (id, name) VALUES (101, 'newer')")
        assert connection.execute("SELECT number FROM item WHERE id = 101").fetchall() == [(101,)]


def test_what_changed(changed: Sandbox, desk: Desk) -> None:
    with changed.connect() as connection:
        connection.execute("ALTER TABLE item ADD COLUMN colour text")
    before = changed.databases()
    told = succeed(desk, section(CHANGED, "See what changed")).out
    for part in ("1 definition and 13 rows in 1 table.", "+ column colour: text", "public.item  +1  ~1  -11  "):
        assert part in told, told
    told = succeed(desk, block(CHANGED, 'snapkit diff "before v42" --table')).out
    assert "  ~    7  item 7\n  →       changed since\n  -   20  item 20\n" in told
    succeed(desk, block(CHANGED, 'snapkit diff "before v42" --rows'))
    assert "<ins>changed since</ins>" in (desk.place / "diff.html").read_text()
    assert "rows" in succeed(desk, block(CHANGED, "snapkit rollback")).out
    assert changed.databases() == before


def test_what_changed_for_a_script(changed: Sandbox, desk: Desk) -> None:
    check = block(CHANGED, 'snapkit diff "before v42" --schema-only')
    assert run(desk, check).code == 0
    if shutil.which("jq") is not None:
        gone = succeed(desk, block(CHANGED, 'snapkit diff "before v42" --json')).out
        assert gone == "public.item 11\n"
    with changed.connect() as connection:
        connection.execute("ALTER TABLE item ADD COLUMN colour text")
    assert run(desk, check).code == 26


def test_staging_is_refreshed_and_put_back(sandbox: Sandbox, desk: Desk) -> None:
    production = f"{sandbox.prefix}_production"
    sandbox.execute(f"CREATE DATABASE {production}")
    with sandbox.connect(production) as connection:
        connection.execute("CREATE TABLE item (id int PRIMARY KEY, name text)")
        connection.execute("INSERT INTO item VALUES (1, 'secret'), (2, 'secret')")
    dump, refresh = block(STAGING, "pg_dump --format"), block(STAGING, 'snapkit guard --label "before refresh"')
    desk.script("refresh.sh", block(STAGING, "#!/bin/sh"))
    mask = desk.place / "mask.sql"

    succeed(desk, dump, PRODUCTION_URL=sandbox.cluster.url(production))
    mask.write_text("UPDATE item SET nom = 'masked';")
    assert run(desk, refresh).code == 20
    assert len(sandbox.items()) == 100
    mask.write_text("UPDATE item SET name = 'masked';")
    succeed(desk, refresh)
    assert sandbox.items() == [(1, "masked"), (2, "masked")]

    succeed(desk, block(STAGING, "snapkit backup --label fresh"))
    for _ in range(2):
        with sandbox.connect() as connection:
            connection.execute("DROP TABLE item")
        succeed(desk, block(STAGING, "snapkit rollback fresh"))
        assert sandbox.items() == [(1, "masked"), (2, "masked")]
        assert not [entry for entry in sandbox.entries() if entry.kind == "old"]
    assert "fresh" in labels(sandbox)
    succeed(desk, block(STAGING, "snapkit unpin fresh"))
    assert "fresh" not in labels(sandbox)


@pytest.mark.any_version
@pytest.mark.parametrize("page", [COMPOSE, KUBERNETES])
def test_the_migration_of_containers(sandbox: Sandbox, desk: Desk, page: str) -> None:
    if page == COMPOSE:
        services = read_yaml(COMPOSE, "services:")["services"]
        assert services["app"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
        command = services["migrate"]["command"]
    else:
        manifest = read_yaml(KUBERNETES, "apiVersion: batch/v1")
        assert (manifest["apiVersion"], manifest["kind"], manifest["spec"]["backoffLimit"]) == ("batch/v1", "Job", 0)
        command = container_of(manifest)["command"]
    desk.script(
        "migrate", "#!/bin/sh\npsql -v ON_ERROR_STOP=1 -c 'DELETE FROM item WHERE id > 10' && test ! -e broken\n"
    )
    (desk.place / "broken").touch()
    assert run(desk, shlex.join(command)).code == 20
    assert len(sandbox.items()) == 100
    (desk.place / "broken").unlink()
    succeed(desk, shlex.join(command))
    assert len(sandbox.items()) == 10


@pytest.mark.any_version
def test_compose_by_hand(sandbox: Sandbox, desk: Desk) -> None:
    sandbox.back_up()
    sandbox.ruin()
    for line in block(COMPOSE, "docker compose run").splitlines():
        succeed(desk, line.removeprefix("docker compose run --rm migrate "))
    assert len(sandbox.items()) == 100


def github() -> tuple[str, str, dict[str, str]]:
    """Return the deploy, what is run when it is cancelled, and the variables of a run."""
    steps = read_yaml(GITHUB, "name: deploy")["jobs"]["deploy"]["steps"]
    (deploy,) = (step for step in steps if step.get("id") == "deploy")
    (cancelled,) = (step for step in steps if "cancelled()" in step.get("if", ""))
    return deploy["run"], cancelled["run"], {"GITHUB_RUN_ID": "4711", "GITHUB_RUN_ATTEMPT": "2"}


def gitlab() -> tuple[str, str, dict[str, str]]:
    job = read_yaml(GITLAB, "deploy:")["deploy"]
    (deploy,), (cancelled,) = job["script"], job["after_script"]
    return deploy, cancelled, {"CI_JOB_ID": "4711", "CI_JOB_STATUS": "canceled"}


@pytest.mark.any_version
@pytest.mark.parametrize("system", [github, gitlab])
def test_a_deploy_from_ci(sandbox: Sandbox, desk: Desk, system: Any) -> None:
    """One that is cancelled, and killed before its guard could roll back, is rolled back; nothing else is."""
    deploy, cancelled, variables = system()
    sandbox.back_up(label="of another run")
    assert run(desk, cancelled, **variables).code == 10
    desk.script("deploy.sh", "#!/bin/sh\npsql -c 'DELETE FROM item WHERE id > 10'\nkill -KILL $PPID\n")
    killed = run(desk, deploy, **variables)
    assert killed.code == -signal.SIGKILL, killed
    assert len(sandbox.items()) == 10
    succeed(desk, cancelled, **variables)
    assert len(sandbox.items()) == 100
    desk.script("deploy.sh", "#!/bin/sh\npsql -c 'DELETE FROM item WHERE id > 10'\nfalse\n")
    assert run(desk, deploy, **variables).code == 20
    assert run(desk, cancelled, **variables).code == 10
    assert len(sandbox.items()) == 100
    desk.script("deploy.sh", "#!/bin/sh\npsql -c 'DELETE FROM item WHERE id > 10'\n")
    succeed(desk, deploy, **variables)
    assert len(sandbox.items()) == 10
