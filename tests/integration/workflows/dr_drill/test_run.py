"""``dr-drill run`` on real servers: it measures, it rolls back, and it can fail."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import LiteralString

import pytest

from aeterna_cli.lab.control import LabControl
from tests.integration.deployment import Practice
from tests.integration.workflows.dr_drill.scenarios import (
    HEAL,
    KILL,
    START,
    WRITABLE,
    measured,
    missed,
    pause,
    program,
    scenario,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _mended(practice: Practice) -> None:
    """Whatever a test broke is not the next one's."""
    for part in ("postgres", "redis", "qdrant"):
        LabControl(practice.lab).start(part)


def alive(practice: Practice) -> bool:
    with practice.sql() as connection:
        return bool(connection.execute("SELECT 1").fetchone() == (1,))


def test_a_killed_server_is_measured_and_its_evidence_kept(
    practice: Practice, tmp_path: Path
) -> None:
    path = scenario(tmp_path, writers={"stores": ["postgres", "redis", "qdrant"], "rate": 20,
                                       "timeout": 1, "warm-up": 5})  # fmt: skip
    ran = practice.cli.ok("dr-drill", "run", path, "--yes", "--approver", "Ada", "--seed", "5")
    assert ran.data["verdict"] == "passed"
    assert ran.data["approved_by"] == "Ada"
    found = measured(ran)
    assert 0.5 <= found["rto"] < 30
    assert (found["lost"], found["rpo"], found["recovered"]) == (0, 0, True)
    assert found["decision"] >= 0.4
    assert found["action"] > 0
    assert found["verification"] is not None
    assert measured(ran, "redis")["rto"] < 0.5
    assert ran.data["outcome"]["seed"] == 5
    stored = practice.repository / "drills" / ran.data["id"]
    assert {"report.html", "junit.xml", "manifest.sig"} <= {p.name for p in stored.iterdir()}
    with practice.sql() as connection:  # its markers are gone
        left = connection.execute("SELECT count(*) FROM aeterna_ops.drill_marker").fetchone()
    assert left == (0,)


def test_a_missed_rto_is_a_failure(practice: Practice, tmp_path: Path) -> None:
    path = scenario(tmp_path, objectives={"postgres": {"rto": 0.3, "rpo": 0}})
    ran = practice.cli("dr-drill", "run", path, "--yes", "--owner", "Bo")
    assert (ran.code, ran.error["code"]) == (8, "drill_failed")
    assert missed(ran) == ["postgres: RTO"]
    assert [one["owner"] for one in ran.data["findings"]] == ["Bo"]


def test_a_lost_write_is_a_failure(practice: Practice, tmp_path: Path) -> None:
    """The server forgets rows that it acknowledged."""
    dsn = practice.lab.environment()
    code = (
        "import psycopg, sys\n"
        "with psycopg.connect() as c:\n"
        "    c.execute('DELETE FROM aeterna_ops.drill_marker WHERE drill = %s AND number IN "
        "(SELECT number FROM aeterna_ops.drill_marker WHERE drill = %s"
        " ORDER BY number DESC LIMIT 2)', (sys.argv[1], sys.argv[1]))\n"
    )
    place = practice.lab.place()
    settings = {
        "PGHOST": dsn["PGHOST"], "PGPORT": dsn["PGPORT"], "PGDATABASE": dsn["PGDATABASE"],
        "PGUSER": practice.open().profile.postgres.user,
        "PGPASSWORD": practice.open().profile.postgres.secret() or "",
    }  # fmt: skip
    assert place.ports["postgres"] == int(dsn["PGPORT"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        path = scenario(tmp_path, method=[program(code, fault=True), pause(0.5)])
        ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code == 8, ran.err
    assert missed(ran) == ["postgres: RPO"]
    assert measured(ran)["lost"] == 2
    assert measured(ran)["rpo"] > 0
    assert "2 acknowledged writes lost" in ran.out


def test_a_broken_rollback_is_a_failure_and_the_next_one_runs(
    practice: Practice, tmp_path: Path
) -> None:
    broken = {"title": "It does not work", "action": "process", "with": {"command": ["false"]}}
    soon = {"title": "Steady", "within": 0, "probes": [WRITABLE]}
    path = scenario(tmp_path, method=[KILL], rollbacks=[broken, HEAL], **{"steady-state": soon})
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code == 8
    assert "rollback: It does not work" in missed(ran)
    assert alive(practice)


@contextmanager
def cancelled_waits(practice: Practice) -> Iterator[None]:
    """A cluster whose synchronous replica never answers, and whose waiting commits somebody
    cancels: PostgreSQL then answers with a warning and calls them done."""
    stop = threading.Event()

    def cancel() -> None:
        with practice.sql() as connection:
            connection.autocommit = True
            while not stop.wait(0.05):
                connection.execute(
                    "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
                    " WHERE wait_event = 'SyncRep'"
                )

    thread = threading.Thread(target=cancel)
    set_standbys(practice, "SET synchronous_standby_names = 'nobody'")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        set_standbys(practice, "RESET synchronous_standby_names")


def set_standbys(practice: Practice, words: LiteralString) -> None:
    with practice.sql() as connection:
        connection.autocommit = True
        connection.execute("SET synchronous_commit = off")
        connection.execute("ALTER SYSTEM " + words)
        connection.execute("SELECT pg_reload_conf()")


def test_a_commit_with_a_warning_is_not_durable(practice: Practice, tmp_path: Path) -> None:
    path = scenario(tmp_path)
    with pytest.MonkeyPatch.context() as patch, cancelled_waits(practice):
        patch.setattr("aeterna_cli.workflows.dr_drill.experiment._WARM_UP", 3.0)
        ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code == 8
    assert "postgres: writes were acknowledged" in missed(ran)
    assert measured(ran)["acknowledged"] == 0
    assert measured(ran)["in_doubt_found"] > 0  # they are there, and nobody was promised it
    assert "marker_not_durable" in ran.out


def test_nothing_measured_is_a_failure(practice: Practice, tmp_path: Path) -> None:
    LabControl(practice.lab).stop("postgres")
    ran = practice.cli("dr-drill", "run", scenario(tmp_path), "--yes")
    assert ran.code == 8
    assert {"the drill ran to its end", "postgres: writes were acknowledged", "postgres: RTO",
            "postgres: RPO"} <= set(missed(ran))  # fmt: skip
    assert alive(practice)  # its rollback started it


def test_an_unsteady_platform_is_not_broken_further(practice: Practice, tmp_path: Path) -> None:
    wrong = {"title": "Never", "probe": "sql", "with": {"query": "SELECT 1"}, "tolerance": 2}
    path = scenario(tmp_path, **{"steady-state": {"title": "s", "probes": [wrong]}})
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code == 8
    assert ran.data["outcome"]["status"] == "not-steady"
    assert "before: Never" in missed(ran)
    assert not [one for one in ran.data["outcome"]["steps"] if one["part"] == "method"]


def test_an_action_that_fails_or_takes_too_long_ends_the_method(
    practice: Practice, tmp_path: Path
) -> None:
    slow = program("import time; time.sleep(60)", timeout=0.5)
    ran = practice.cli("dr-drill", "run", scenario(tmp_path, method=[KILL, slow, START]), "--yes")
    assert ran.code == 8
    assert ran.data["outcome"]["status"] == "failed"
    steps = [one for one in ran.data["outcome"]["steps"] if one["part"] == "method"]
    assert [one["code"] for one in steps] == ["", "drill_step_timeout"]
    assert alive(practice)


def test_a_query_cannot_write(practice: Practice, tmp_path: Path) -> None:
    for query in ("CREATE TABLE public.x (a int)", "COMMIT; CREATE TABLE public.x (a int)"):
        bad = {"title": "Writes", "probe": "sql", "with": {"query": query}, "tolerance": 1}
        path = scenario(tmp_path, **{"steady-state": {"title": "s", "probes": [bad]}})
        ran = practice.cli("dr-drill", "run", path, "--yes")
        assert "before: Writes" in missed(ran)
    with practice.sql() as connection:
        assert connection.execute("SELECT to_regclass('public.x')").fetchone() == (None,)


def test_background_load_enters_the_evidence(practice: Practice, tmp_path: Path) -> None:
    code = (
        "import json, sys, time\n"
        "open('k6.json', 'w').write(json.dumps({'metrics': {'http_reqs': {'rate': 41.5},"
        " 'http_req_duration': {'p(99)': 12.25}}}))\n"
        "time.sleep(600)\n"
    )
    load = [{"title": "k6", "command": [sys.executable, "-c", code], "summary": "k6.json"}]
    ran = practice.cli.ok("dr-drill", "run", scenario(tmp_path, load=load), "--yes")
    (found,) = ran.data["outcome"]["load"]
    assert (found["rate"], found["p99"]) == (41.5, 12.25)
    stored = practice.repository / "drills" / ran.data["id"]
    assert {"k6.json", "load-0.out"} <= {path.name for path in stored.iterdir()}


# -- refused before anything is touched


def untouched(practice: Practice) -> None:
    assert alive(practice)
    assert not practice.operations()
    assert not (practice.repository / "drills").exists()


@pytest.mark.parametrize("drill", ["pod-kill", "region-loss"])
def test_without_its_ground_a_drill_is_refused(practice: Practice, drill: str) -> None:
    ran = practice.cli("dr-drill", "run", drill, "--yes")
    assert (ran.code, ran.error["code"]) == (7, "drill_not_possible")
    assert ran.error["details"]["reasons"]
    untouched(practice)


def test_a_misspelt_scenario_is_exit_2(practice: Practice, tmp_path: Path) -> None:
    path = Path(scenario(tmp_path))
    path.write_text(path.read_text().replace('"within"', '"witin"'))
    ran = practice.cli("dr-drill", "run", str(path), "--yes")
    assert (ran.code, ran.error["code"]) == (2, "scenario_invalid")
    assert "did you mean within?" in ran.error["hint"]
    ran = practice.cli("dr-drill", "run", "restore-latest-bakup", "--yes")
    assert (ran.code, ran.error["code"]) == (2, "scenario_unknown")
    assert "restore-latest-backup" in ran.error["hint"]
    assert practice.cli("dr-drill", "run").code == 2
    untouched(practice)


def test_a_restore_over_the_real_servers_is_refused(practice: Practice, tmp_path: Path) -> None:
    over = {"title": "Over", "action": "restore.run",
            "with": {"stores": ["postgres"], "into": "practice"}}  # fmt: skip
    path = scenario(tmp_path, method=[KILL, over])
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert (ran.code, ran.error["code"]) == (7, "drill_target_not_segregated")
    untouched(practice)


def test_without_a_yes_nothing_happens(practice: Practice, tmp_path: Path) -> None:
    ran = practice.cli("dr-drill", "run", scenario(tmp_path))
    assert (ran.code, ran.error["code"]) == (7, "confirmation_missing")
    dry = practice.cli.ok("dr-drill", "run", scenario(tmp_path), "--dry-run", "--seed", "3")
    assert dry.schema == "aeterna.dr_drill.run.planned/1"
    assert dry.data["seed"] == 3
    untouched(practice)


def test_production_wants_name_window_and_confirmation(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scenario(tmp_path)
    monkeypatch.setenv("AETERNA_ENVIRONMENT", "production")
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert (ran.code, ran.error["code"]) == (7, "drill_not_allowed")
    monkeypatch.setenv("AETERNA_DRILLS__ALLOWED", '["practice-drill"]')
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    monkeypatch.setenv("AETERNA_DRILLS__WINDOW", f"{tomorrow:%a} 00:00-24:00")
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert (ran.code, ran.error["code"]) == (7, "drill_outside_window")
    monkeypatch.setenv("AETERNA_DRILLS__WINDOW", "Mon-Sun 00:00-24:00")
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert (ran.code, ran.error["code"]) == (7, "confirmation_missing")
    untouched(practice)
    assert practice.cli.ok("dr-drill", "run", path, "--confirm", "practice").data["verdict"]


# -- cut off

POINTS = [
    "drill:writers:before", "drill:writers:after", "drill:method:before", "drill:method:0",
    "drill:method:1", "drill:method:2", "drill:method:after", "drill:rollbacks:before",
    "drill:rollback:before", "drill:rollbacks:after", "drill:measured", "step:experiment:after",
    "step:evidence:before", "step:evidence:after",
]  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_the_rollback_is_offered_and_works(
    practice: Practice, tmp_path: Path, point: str
) -> None:
    path = scenario(tmp_path)
    assert practice.killed_at(point, "dr-drill", "run", path, "--yes")
    (cut,) = practice.operations("--unfinished")
    listed = practice.cli.ok("dr-drill", "list")
    assert f"dr-drill run --rollback {cut['operation']}" in listed.err
    refused = practice.cli("dr-drill", "run", path, "--yes")
    assert (refused.code, refused.error["code"]) == (3, "drill_unfinished")
    ran = practice.cli("dr-drill", "run", "--rollback", cut["operation"], "--yes")
    ended = point.startswith("step:evidence")  # what the experiment found is written down by then
    assert ran.code == (0 if ended else 8), ran.err
    assert ran.data["outcome"]["status"] == ("completed" if ended else "killed")
    assert alive(practice)
    assert not practice.operations("--unfinished")
    assert "--rollback" not in practice.cli.ok("dr-drill", "list").err
    stored = practice.repository / "drills" / cut["operation"]
    assert (stored / "manifest.sig").exists()


def test_a_killed_drills_program_is_ended(practice: Practice, tmp_path: Path) -> None:
    load = [{"title": "sleeper", "command": [sys.executable, "-c", "import time; time.sleep(600)"]}]
    path = scenario(tmp_path, load=load)
    assert practice.killed_at("drill:method:1", "dr-drill", "run", path, "--yes")
    (cut,) = practice.operations("--unfinished")
    folder = Path(practice.environment["XDG_STATE_HOME"])
    (journal,) = folder.rglob(f"{cut['operation']}/journal.ndjson")
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    (started,) = [one for one in events if one["event"] == "program_started"]
    assert Path(f"/proc/{started['pid']}").exists()
    practice.cli("dr-drill", "run", "--rollback", cut["operation"], "--yes")
    status = Path(f"/proc/{started['pid']}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_ctrl_c_rolls_back_and_keeps_the_evidence(practice: Practice, tmp_path: Path) -> None:
    path = scenario(tmp_path, method=[KILL, pause(60), START])
    process = subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", "dr-drill", "run", path, "--yes"],
        env={**os.environ, **practice.environment}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "part of the test" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    drill = json.loads(out)["data"]
    assert drill["outcome"]["status"] == "interrupted"
    assert drill["verdict"] == "failed"
    assert alive(practice)
    assert not practice.operations("--unfinished")
    assert (practice.repository / "drills" / drill["id"] / "manifest.sig").exists()


def test_two_drills_do_not_run_together(practice: Practice, tmp_path: Path) -> None:
    path = scenario(tmp_path, method=[KILL, pause(4), START])
    first = subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", "dr-drill", "run", path, "--yes"],
        env={**os.environ, **practice.environment}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stderr is not None
    for line in first.stderr:
        if "part of the test" in line:
            break
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert (ran.code, ran.error["code"]) == (3, "lease_held")
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_without_the_repository_only_broken_glass_goes_on(
    practice: Practice, tmp_path: Path
) -> None:
    path, away = scenario(tmp_path), practice.repository.with_name("away")
    practice.repository.rename(away)
    ran = practice.cli("dr-drill", "run", path, "--yes")
    assert ran.code not in (0, 8), ran.err
    assert alive(practice)
    ran = practice.cli("dr-drill", "run", path, "--yes", "--break-glass", "S3 is down")
    assert (ran.code, ran.error["code"]) == (9, "evidence_not_stored"), ran.err
    assert ran.data["verdict"] == "passed"
    if practice.repository.exists():  # nobody may have made it meanwhile
        pytest.fail("a drill made a repository of its own")
    away.rename(practice.repository)
    history = practice.cli.ok("dr-drill", "history")
    assert [one["id"] for one in history.data["drills"]] == [ran.data["id"]]
