"""How many seconds of acknowledged commits the repository lacks when a server dies.

A writer commits row after row and remembers when each was acknowledged and up to which LSN the WAL
was on disk then. The server is killed (SIGKILL) at a random moment; what the repository lacks is
every acknowledged commit behind the end of the unbroken stored WAL. The second figure kills the
receiver at the same moment: then the WAL that it had received and not stored yet is lost too.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aeterna_cli.deployment import Deployment
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, SUPERUSER
from aeterna_cli.repository import layout
from aeterna_cli.repository.wal_archive import covered, list_chunks, lsn_number

TARGET = 5.0  # seconds
RUNS = 20


def run(runs: int = RUNS) -> list[str]:
    """The lines to print; each run takes about six seconds."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "lab")
        try:
            lab.up(["postgres", "s3", "vault"])
            bench = _Bench(lab)
            server = [bench.one(kill_receiver=False) for _ in range(runs)]
            both = [bench.one(kill_receiver=True) for _ in range(runs)]
        finally:
            lab.down()
    return [
        _line("kill -9 of the server", server),
        _line("kill -9 of the server and of the receiver at once", both),
    ]


def _line(name: str, missing: list[tuple[float, int, int]]) -> str:
    seconds = [one[0] for one in missing]
    verdict = "met" if max(seconds) <= TARGET else "MISSED"
    return (
        f"RPO, {name}: at most {max(seconds):.2f} s of acknowledged commits missing"
        f" (median {statistics.median(seconds):.2f} s,"
        f" {sum(one[1] for one in missing)} of {sum(one[2] for one in missing)} commits,"
        f" {len(missing)} runs; target <= {TARGET:.0f} s: {verdict})"
    )


class _Bench:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._place = Deployment("lab", lab.profile())
        self._environment = {**os.environ, "AETERNA_LAB_DIR": str(lab.directory)}
        self._environment["AETERNA_PROFILE"] = "lab"
        self._folder = layout.wal_folder(self._place.postgres.identity().system_identifier)
        subprocess.run(
            [sys.executable, "-m", "aeterna_cli", "repository", "init"],
            env=self._environment,
            check=True,
            capture_output=True,
        )
        self._log = lab.directory / "receive.log"

    def one(self, *, kill_receiver: bool) -> tuple[float, int, int]:
        """Seconds of acknowledged commits that are missing, how many commits, of how many."""
        control = LabControl(self._lab)
        with self._receiver() as receiver, _Commits(self._lab) as commits:
            time.sleep(random.uniform(2.5, 6.0))  # noqa: S311 - a moment, not a secret
            killed = time.monotonic()
            if kill_receiver:
                receiver.kill()
            control.kill("postgres")
            if not kill_receiver:
                self._wait_for("again in")
            receiver.kill()
            receiver.wait()
        (stored,) = covered(list_chunks(self._place.objects, self._folder))
        missing = [moment for moment, lsn in commits.acknowledged if lsn > stored.end]
        control.start("postgres")
        lost = killed - missing[0] if missing else 0.0
        return max(0.0, lost), len(missing), len(commits.acknowledged)

    @contextmanager
    def _receiver(self) -> Iterator["subprocess.Popen[bytes]"]:
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "aeterna_cli", "backup", "wal", "receive"],
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            self._wait_for("receiving WAL from")
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def _wait_for(self, words: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while words not in self._log.read_text(encoding="utf-8"):
            if time.monotonic() > end:
                raise RuntimeError(f"the receiver never said {words!r}: {self._log.read_text()}")
            time.sleep(0.02)


class _Commits:
    """One connection that commits until its server is gone."""

    def __init__(self, lab: Lab) -> None:
        self._place = lab.place()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: list[tuple[float, int]] = []

    def __enter__(self) -> "_Commits":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(10)

    def _run(self) -> None:
        import psycopg

        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(
                host=str(self._place.sockets),
                port=self._place.ports["postgres"],
                dbname=DATABASE,
                user=SUPERUSER,
                autocommit=True,
            ) as server,
        ):
            server.execute("CREATE TABLE IF NOT EXISTS written (id bigserial, filler text)")
            while True:
                server.execute("INSERT INTO written (filler) VALUES (repeat('x', 500))")
                moment = time.monotonic()
                row = server.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
                if row is not None:
                    self.acknowledged.append((moment, lsn_number(row[0])))


if __name__ == "__main__":
    for line in run(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS):
        sys.stdout.write(line + "\n")
