"""An asynchronous replica that was frozen takes over: what it never got was acknowledged.

PostgreSQL's own replication, without Patroni: the replica's directory takes the place of the killed
primary's, as its promotion would. A drill must count every write that this loses.
"""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aeterna_cli.lab import processes
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.postgres import SUPERUSER, programs
from aeterna_cli.stores import unprivileged
from tests.integration.deployment import Practice
from tests.integration.workflows.dr_drill.scenarios import (
    HEAL,
    KILL,
    measured,
    missed,
    pause,
    program,
    scenario,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

TAKE_OVER = """
from pathlib import Path
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
control = LabControl(Lab(Path({lab!r})))
replica = Path({replica!r})
for name in ("standby.signal", "postmaster.pid"):
    (replica / name).unlink(missing_ok=True)
control.replace_data_dir("postgres", replica)
control.start("postgres")
"""


@contextmanager
def replica(practice: Practice) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A streaming replica of the lab's PostgreSQL, of which nobody waits for a confirmation."""
    place = practice.lab.place()
    data = place.data("postgres").with_name("replica")
    port = str(place.ports["postgres"])
    common = ["-h", str(place.sockets), "-p", port, "-U", SUPERUSER]
    words = [programs() / "pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", *common]
    subprocess.run(unprivileged.wrap(words), check=True, capture_output=True)
    sockets = place.sockets / "replica"
    sockets.mkdir(mode=0o700, exist_ok=True)
    unprivileged.own(sockets)
    start = [programs() / "postgres", "-D", data, "-p", "5999", "-c", "listen_addresses=",
             "-c", f'unix_socket_directories="{sockets}"']  # fmt: skip
    running = subprocess.Popen(
        unprivileged.wrap(start), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield data, running
    finally:
        end(running)


def end(running: "subprocess.Popen[bytes]") -> None:
    identity = processes.identify(running.pid)
    if identity is not None:
        processes.kill_family(identity)
    running.wait()


def streaming(practice: Practice) -> bool:
    with practice.sql() as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            " AND replay_lsn = pg_current_wal_lsn()"
        ).fetchone()
    return bool(row and row[0])


def test_every_write_that_it_loses_is_counted(practice: Practice, tmp_path: Path) -> None:
    with replica(practice) as (data, running):
        identity = processes.identify(running.pid)
        assert identity is not None
        for _ in range(200):
            if streaming(practice):
                break
            signal.sigtimedwait([], 0.05)
        freeze = (
            "import os, signal\n"
            f"for pid in {[one.pid for one in processes.family(identity)]}:\n"
            "    os.kill(pid, signal.SIGSTOP)\n"
        )
        drop = (
            "import os, signal\n"
            f"for pid in {[one.pid for one in reversed(processes.family(identity))]}:\n"
            "    os.kill(pid, signal.SIGKILL)\n"
        )
        take_over = TAKE_OVER.format(lab=str(practice.lab.directory), replica=str(data))
        path = scenario(
            tmp_path,
            method=[
                program(freeze), pause(1.5), KILL, program(drop), pause(0.5),
                program(take_over, phase="action", timeout=60),
            ],
            rollbacks=[HEAL],
        )  # fmt: skip
        ran = practice.cli("dr-drill", "run", path, "--yes")
    LabControl(practice.lab).start("postgres")
    assert ran.code == 8, ran.err
    assert missed(ran) == ["postgres: RPO"], ran.out
    found = measured(ran)
    assert found["recovered"]
    assert 15 <= found["lost"] <= 60  # 20 a second for the time that it was frozen
    assert found["rpo"] == pytest.approx(1.5, abs=1)
    assert "acknowledged writes lost" in ran.out
