"""Rounds of backup under live writes, a random moment, restore, and the writer's own log as judge.

Half of the rounds go to a position (exact: the WAL position that the server named right after a
commit), half to a time (judged by the server's own commit timestamps). What is restored must be
what the writer's log says was committed by then: same rows, same digest.
"""

import hashlib
import os
import random
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, SUPERUSER, programs, superuser
from aeterna_cli.repository import layout
from aeterna_cli.repository.wal_archive import covered, list_chunks, lsn_number
from aeterna_cli.stores import unprivileged

ROUNDS = 10
PARTS = ("postgres", "s3", "vault")
_WAIT = 60.0  # seconds for anything


@dataclass(frozen=True)
class Committed:
    """One row that the server acknowledged, and a WAL position behind it and before the next."""

    id: int
    body: str
    position: str


@dataclass
class Writer:
    """Commits one row after the other until it is told to stop; the log is in commit order."""

    lab: Lab
    log: list[Committed] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator["Writer"]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        with superuser(self.lab.place(), DATABASE) as server:
            while not self._stop.is_set():
                body = secrets.token_hex(100)
                row = server.execute(
                    "INSERT INTO rounds (body) VALUES (%s) RETURNING id", (body,)
                ).fetchone()
                at = server.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
                if row is not None and at is not None:
                    self.log.append(Committed(int(str(row[0])), body, str(at[0])))


@dataclass(frozen=True)
class Round:
    """What was asked for, and whether the restored rows are those of the writer's log."""

    target: str
    expected: int
    found: int
    equal: bool
    seconds: float


def run(rounds: int = ROUNDS) -> list[str]:
    """The lines to print. ``RuntimeError`` where a round restored anything else than the log."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "lab")
        try:
            lab.up(PARTS)
            bench = _Bench(lab, Path(folder))
            with bench.receiving():
                done = [bench.one(by_time=number % 2 == 1) for number in range(rounds)]
        finally:
            lab.down()
    lines = [
        f"round {number}: {one.target}: {one.found:,} rows, {'equal' if one.equal else 'DIFFERENT'}"
        f" ({one.seconds:.1f} s)"
        for number, one in enumerate(done, 1)
    ]
    equal = sum(one.equal for one in done)
    lines.append(f"{equal} of {len(done)} rounds restored what the writer's log says")
    if equal < len(done):
        raise RuntimeError("\n".join(lines))
    return lines


class _Bench:
    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self._place = Deployment("lab", lab.profile())
        self._environment = {
            **os.environ,
            "AETERNA_LAB_DIR": str(lab.directory),
            "AETERNA_PROFILE": "lab",
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        self._wal = layout.wal_folder(self._place.postgres.identity().system_identifier)
        with superuser(lab.place(), DATABASE) as server:
            server.execute("CREATE TABLE rounds (id bigserial PRIMARY KEY, body text)")
        self._cli("repository", "init")

    def one(self, *, by_time: bool) -> Round:
        """One backup while rows are written, and a restore to a moment after it."""
        with superuser(self._lab.place(), DATABASE) as server:
            server.execute("TRUNCATE rounds")
        writer = Writer(self._lab)
        with writer.running():
            self._cli("backup", "create", "--store", "postgres")
            first = len(writer.log)
            _until(lambda: len(writer.log) > first + random.randint(50, 800))  # noqa: S311 - a moment
            choice = random.randrange(first + 1, len(writer.log) - 1)  # noqa: S311 - a moment
            last = len(writer.log)
            _until(lambda: len(writer.log) > last + 10)
            self._stored(lsn_number(writer.log[-1].position))
        words, expected = self._target(writer.log, choice, by_time=by_time)
        began = time.monotonic()
        data = self._folder / "restored"
        self._cli("restore", "run", "--store", "postgres", "--data-dir", str(data), "--yes", *words)
        seconds = time.monotonic() - began
        found = self._rows(data)
        subprocess.run(["rm", "-rf", str(data)], check=True)
        equal = _digest(found) == _digest([(one.id, one.body) for one in expected])
        return Round(" ".join(words), len(expected), len(found), equal, seconds)

    def _target(
        self, log: Sequence[Committed], choice: int, *, by_time: bool
    ) -> tuple[list[str], list[Committed]]:
        if not by_time:
            return ["--lsn", log[choice].position], [one for one in log if one.id <= log[choice].id]
        with superuser(self._lab.place(), DATABASE) as server:
            rows = server.execute(
                "SELECT id, pg_xact_commit_timestamp(xmin) FROM rounds ORDER BY id"
            ).fetchall()
        times = {int(str(row[0])): _moment(row[1]) for row in rows}
        target = times[log[choice].id] + timedelta(microseconds=random.randint(0, 900))  # noqa: S311 - a moment
        kept = [one for one in log if times[one.id] <= target]
        return ["--at", target.isoformat()], kept

    def _rows(self, data: Path) -> list[tuple[int, str]]:
        """What a server started on the restored directory has."""
        import psycopg

        with tempfile.TemporaryDirectory() as sockets:
            unprivileged.own(Path(sockets))
            options = ("-c", "listen_addresses=", "-c", "archive_mode=off", "-k", sockets)
            process = subprocess.Popen(
                unprivileged.wrap([programs() / "postgres", "-D", data, "-p", "5432", *options]),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            words = f"host={sockets} port=5432 dbname={DATABASE} user={SUPERUSER}"
            try:
                _until(lambda: _answers(words))
                with psycopg.connect(words) as server:
                    rows = server.execute("SELECT id, body FROM rounds ORDER BY id").fetchall()
            finally:
                process.terminate()
                process.wait()
        return [(int(row[0]), str(row[1])) for row in rows]

    @contextmanager
    def receiving(self) -> Iterator[None]:
        words = [sys.executable, "-m", "aeterna_cli", "backup", "wal", "receive", "-q"]
        with (self._folder / "receive.log").open("wb") as log:
            process = subprocess.Popen(words, env=self._environment, stdout=log, stderr=log)
        try:
            self._stored(self._place.postgres.current_lsn())
            yield
        finally:
            process.terminate()
            process.wait()

    def _stored(self, position: int) -> None:
        def there() -> bool:
            ranges = covered(list_chunks(self._place.objects, self._wal))
            return any(one.end >= position for one in ranges)

        _until(there)

    def _cli(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "aeterna_cli", *words, "-q"],
            env=self._environment,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.decode()[-2000:]}")


def _digest(rows: Sequence[tuple[int, str]]) -> str:
    digest = hashlib.sha256()
    for number, body in rows:
        digest.update(f"{number}:{body}\n".encode())
    return digest.hexdigest()


def _moment(value: Any) -> datetime:
    found: datetime = value.astimezone(UTC)
    return found


def _answers(words: str) -> bool:
    import psycopg

    try:
        psycopg.connect(words).close()
    except psycopg.OperationalError:
        return False
    return True


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("it never came to this")
        time.sleep(0.02)


if __name__ == "__main__":
    for line in run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS):
        sys.stdout.write(line + "\n")
