"""``backup create`` while the world around it fails: told in words, and nothing torn is listed."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab import profile
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from tests.command_line import CommandLine, Ran
from tests.faults.http_proxy import Fault, FaultProxy, Request, fault_proxy
from tests.integration.deployment import Practice, practise
from tests.integration.workflows.backup.fault_proxy import ignoring_conditions, s3_repository

pytestmark = pytest.mark.integration

SMALL = ("backup", "create", "--store", "redis")
STREAM = ("backup", "create", "--store", "postgres", "--rate-limit", "1M")
SECRET = "x7-not-the-password"
PROGRESS = "SELECT pid FROM pg_stat_progress_basebackup WHERE backup_streamed > 0"


@pytest.fixture
def proxy(lab: Lab) -> Iterator[FaultProxy]:
    with fault_proxy(lab.place().url("s3")) as running:
        yield running


@pytest.fixture
def remote(
    lab: Lab,
    cli: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    proxy: FaultProxy,
) -> Practice:
    """A repository in S3, reached through the proxy."""
    section = s3_repository(lab, proxy.address)
    return practise(lab, cli, tmp_path, monkeypatch, repository=section)


def ended(ran: Ran, exit_code: int, *codes: str) -> None:
    """A typed error with a way on, and neither a traceback nor a secret."""
    assert ran.code == exit_code, ran.err
    assert ran.error["code"] in codes, ran.err
    assert ran.error["exit_code"] == exit_code
    assert "Traceback" not in ran.err
    assert SECRET not in ran.err + ran.out


def nothing_listed(practice: Practice) -> None:
    assert practice.open().repository.backups() == []
    assert practice.cli.ok("backup", "list").data == []


# -- the repository in S3


def test_a_bucket_that_is_not_there_is_never_made(
    remote: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_REPOSITORY__URL", "s3://misspelt-bucket/repository")
    for words in (SMALL, ("repository", "init")):
        ran = remote.cli(*words)
        ended(ran, 7, "bucket_missing")
        assert any("create the bucket" in step for step in ran.error["next_steps"])


def test_refused_s3_credentials_are_told_without_them(
    remote: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = profile.tree(remote.lab.place())["repository"]
    monkeypatch.setenv("AETERNA_REPOSITORY__SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AETERNA_REPOSITORY__ACCESS_KEY_ID", section["access_key_id"])
    wrong = Path(remote.environment["XDG_STATE_HOME"]).parent / "wrong"
    wrong.write_text(SECRET, encoding="utf-8")
    wrong.chmod(0o600)
    monkeypatch.setenv("AETERNA_REPOSITORY__SECRET_ACCESS_KEY_FILE", str(wrong))
    monkeypatch.delenv("AETERNA_REPOSITORY__SECRET_ACCESS_KEY")
    ran = remote.cli(*SMALL)
    ended(ran, 6, "s3_denied")
    assert "access_key_id" in ran.error["hint"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, code="InternalError"),
        Fault(status=503, code="SlowDown"),
        Fault(cut_before=True),
        Fault(lose_answer=True),
    ],
    ids=["500", "503", "cut", "answer-lost"],
)
def test_one_failed_write_is_tried_again(remote: Practice, proxy: FaultProxy, fault: Fault) -> None:
    proxy.break_once("PUT", "/backups/", fault)
    made = remote.backup("--store", "redis")
    assert proxy.count("PUT", "/backups/") > 1
    listed = remote.cli.ok("backup", "list").data
    assert [one["backup"] for one in listed] == [made["backup"]]
    remote.cli.ok("backup", "verify", made["backup"])


@pytest.mark.parametrize("fault", [Fault(status=503, code="SlowDown"), Fault(cut_before=True)])
def test_writes_that_always_fail_end_the_backup(
    remote: Practice, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.break_always("PUT", "/redis/", fault)
    ended(remote.cli(*SMALL), 4, "s3_unavailable", "s3_connection_cut")
    assert proxy.count("PUT", "/redis/") > 1
    proxy.rule = lambda request: None
    nothing_listed(remote)
    remote.backup("--store", "redis")


def test_a_slow_repository_is_only_slow(remote: Practice, proxy: FaultProxy) -> None:
    def slow(_request: Request) -> None:
        proxy.closing.wait(0.05)

    proxy.rule = slow
    made = remote.backup("--store", "redis")
    proxy.rule = lambda request: None
    remote.cli.ok("backup", "verify", made["backup"])


def test_a_server_that_ignores_conditions_gets_no_repository(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practise(lab, cli, tmp_path, monkeypatch)
    with ignoring_conditions(lab.place().url("s3")) as address:
        for name, value in s3_repository(lab, address).items():
            monkeypatch.setenv(f"AETERNA_REPOSITORY__{name.upper()}", str(value))
        ran = cli("repository", "init")
        ended(ran, 7, "conditional_writes_ignored")
        assert ran.error["hint"]
        ran = cli(*SMALL)
        ended(ran, 7, "repository_missing", "repository_uninitialised", "not_a_repository")


# -- the machine


def run_limited(practice: Practice, words: tuple[str, ...], file_bytes: int) -> Ran:
    """In a process whose files may not grow beyond ``file_bytes``: as on a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    done = subprocess.run(
        [sys.executable, "-m", "aeterna_cli", *words],
        env={**os.environ, **practice.environment},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_repository_without_space_lists_nothing(practice: Practice) -> None:
    ran = run_limited(practice, ("backup", "create", "--store", "postgres"), 1 << 20)
    ended(ran, 5, "disk_full")
    assert "space" in ran.error["message"] + ran.error["hint"]
    nothing_listed(practice)
    practice.backup("--store", "redis")


# -- the stores, while they are read


@contextmanager
def streaming(practice: Practice) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A backup in a process of its own that streams PostgreSQL, and its server's pid there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aeterna_cli", *STREAM],
        env={**os.environ, **practice.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    try:
        yield process, until(lambda: _walsender(practice, process))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _walsender(practice: Practice, process: subprocess.Popen[str]) -> int | None:
    assert process.poll() is None, process.stderr and process.stderr.read()
    with practice.sql() as connection:
        found = connection.execute(PROGRESS).fetchone()
    return found[0] if found else None


def until(question: Callable[[], Any], seconds: float = 60) -> Any:
    """The first answer that is not empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError("it never happened")


def finished(process: subprocess.Popen[str]) -> Ran:
    out, err = process.communicate(timeout=60)
    return Ran(process.returncode, out, err)


def test_a_terminated_backend_ends_the_backup(practice: Practice) -> None:
    with streaming(practice) as (process, pid):
        with practice.sql() as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        ran = finished(process)
    assert ran.code in (4, 5), ran.err
    assert ran.error["hint"] or ran.error["next_steps"] or ran.code == 4
    assert "Traceback" not in ran.err
    nothing_listed(practice)


def test_a_killed_postgres_ends_the_backup(practice: Practice) -> None:
    control = LabControl(practice.lab)
    try:
        with streaming(practice) as (process, _pid):
            control.kill("postgres")
            ran = finished(process)
    finally:
        control.start("postgres")
    assert ran.code == 4, ran.err
    assert "Traceback" not in ran.err
    nothing_listed(practice)
    practice.backup("--store", "postgres")


def as_kill(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)


def as_terminal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    os.killpg(process.pid, number)


def as_service_manager(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Every process of the service, in whatever order."""
    tasks = Path(f"/proc/{process.pid}/task")
    children = until(  # the age process is one
        lambda: [pid for one in tasks.glob("*/children") for pid in one.read_text().split()]
    )
    process.send_signal(number)
    for pid in children:
        os.kill(int(pid), number)


@pytest.mark.parametrize("sent", [as_kill, as_terminal, as_service_manager])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_at_a_safe_point(
    practice: Practice,
    number: signal.Signals,
    code: int,
    sent: Callable[[subprocess.Popen[str], signal.Signals], None],
) -> None:
    with streaming(practice) as (process, _pid):
        begun = time.monotonic()
        sent(process, number)
        ran = finished(process)
    assert time.monotonic() - begun < 15
    ended(ran, code, "terminated", "interrupted")
    nothing_listed(practice)
    (one,) = practice.operations()
    assert one["state"] == "abandoned"
    leases = [json.loads(path.read_text()) for path in practice.repository.glob("leases/*.json")]
    assert leases
    assert not any(lease["holders"] for lease in leases)
    with practice.sql() as connection:
        slots = connection.execute("SELECT slot_name FROM pg_replication_slots WHERE temporary")
        assert slots.fetchall() == []
    practice.backup("--store", "redis")


def test_two_backups_at_once(practice: Practice) -> None:
    with streaming(practice) as (process, _pid):
        ran = practice.cli(*SMALL)
        process.send_signal(signal.SIGTERM)
        finished(process)
    ended(ran, 3, "lease_held")
    assert "operation show" in ran.error["next_steps"][0]


def test_the_key_service_may_go_away_once_the_keys_are_made(practice: Practice) -> None:
    """Data are sealed for a recipient: only making the slot asks the key service."""
    control = LabControl(practice.lab)
    with streaming(practice) as (process, _pid):
        control.stop("vault")
        try:
            process.send_signal(signal.SIGTERM)
            assert finished(process).code == 143
            ran = practice.cli(*SMALL)
        finally:
            control.start("vault")
    ended(ran, 4, "key_service_unreachable", "vault_unreachable")
    nothing_listed(practice)
    practice.backup("--store", "redis")


def test_an_unknown_authority_is_refused(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lab's servers speak no TLS here: whoever wants it must not be served without."""
    for store, code in (("POSTGRES", "postgres"), ("REDIS", "redis")):
        monkeypatch.setenv(f"AETERNA_{store}__TLS__ENABLED", "true")
        ran = practice.cli("backup", "create", "--store", code)
        monkeypatch.delenv(f"AETERNA_{store}__TLS__ENABLED")
        assert ran.code in (4, 5, 6, 7), ran.err
        assert ran.error["code"] != "internal_error", ran.err
        assert "Traceback" not in ran.err
    nothing_listed(practice)


def test_redis_that_dies_while_it_is_read(practice: Practice) -> None:
    """Killed while its image streams slowly: exit 4, nothing listed, the next backup passes."""
    control = LabControl(practice.lab)
    found: list[Ran] = []
    words = ("backup", "create", "--store", "redis", "--rate-limit", "1K")
    thread = threading.Thread(target=lambda: found.append(run_limited(practice, words, 1 << 30)))
    thread.start()
    try:
        with practice.sql():
            until(lambda: list(practice.repository.glob("backups/*")))
        control.kill("redis")
        thread.join(60)
    finally:
        control.start("redis")
    (ran,) = found
    assert ran.code in (0, 4), ran.err
    assert "Traceback" not in ran.err
    assert len(practice.open().repository.backups()) == (ran.code == 0)
    practice.backup("--store", "redis")
