"""Planned switchovers under a numbered writer: PostgreSQL against patronictl, Redis coordinated.

A highly-available lab of its own: three Patroni nodes (synchronous, ttl 5), three Valkeys, three
Sentinels. Each writer writes number after number the way an application does, and afterwards every
acknowledged number must be there. ``AETERNA_BENCH_SWITCHOVERS`` (10) is the number of pairs for
PostgreSQL and half of the runs for Redis.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError
from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.settings import Profile
from aeterna_cli.stores.postgres_connection import connect, postgres_errors
from aeterna_cli.stores.redis_connection import RedisConnection
from tests.integration.ha import PARTS, cluster, healthy, leader, until

PAIRS = int(os.environ.get("AETERNA_BENCH_SWITCHOVERS", "10"))
COMPONENTS = os.environ.get("AETERNA_BENCH_COMPONENTS", "postgres,redis").split(",")
NAME = "bench"
TARGET = 1.25


class Writer:
    """Numbers one after the other; ``gap`` is the longest time without an acknowledged one."""

    def __init__(self, write: Callable[[int], None]) -> None:
        self._write = write
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.number = 0
        self.acknowledged: list[int] = []
        self.gap = 0.0

    def __enter__(self) -> "Writer":
        self._thread.start()
        until(lambda: len(self.acknowledged) > 50)
        return self

    def __exit__(self, *_: object) -> None:
        seen = len(self.acknowledged)
        until(lambda: len(self.acknowledged) > seen + 20)
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.is_set():
            self.number += 1
            try:
                self._write(self.number)
            except AeternaError:
                time.sleep(0.01)  # the writer's own pace of trying again
                continue
            now = time.monotonic()
            self.gap, last = max(self.gap, now - last), now
            self.acknowledged.append(self.number)


class Site:
    """The lab, a profile of it and its command line as processes of their own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        tree = lab_profile.tree(lab.place())
        tree["repository"] = {"url": str(folder / "repository")}
        self.profile = Profile.model_validate(tree)
        lines = lab_profile.table(f"profiles.{NAME}", tree)
        (folder / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._environment = {
            **os.environ,
            "AETERNA_CONFIG": str(folder / "config.toml"),
            "AETERNA_PROFILE": NAME,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        self.cli("repository", "init")

    def cli(self, *words: str) -> Any:
        command = [sys.executable, "-m", "aeterna_cli", *words, "--yes", "-q", "-o", "json"]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words}: exit {done.returncode}\n{done.stderr.decode()}")
        return json.loads(done.stdout)["data"]

    def patronictl(self, first: str, second: str) -> None:
        """It ends with 0 whatever happens: what happened is looked at afterwards."""
        file = self.lab.place().folder(first) / "patroni.yml"
        words = ["switchover", "lab", "--leader", first, "--candidate", second, "--force"]
        program = str(Path(sys.executable).parent / "patronictl")
        subprocess.run([program, "-c", str(file), *words], capture_output=True, check=False)
        until(lambda: leader(self.lab) == second)


def run() -> list[str]:
    """The lines to print. ``RuntimeError`` where an acknowledged write was lost."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of our own in it
    with tempfile.TemporaryDirectory(dir=where) as folder:
        lab = Lab(Path(folder) / "lab")
        try:
            lab.up((*PARTS, "vault"), topology="ha")
            until(lambda: healthy(lab))
            site = Site(lab, Path(folder))
            parts = {"postgres": _postgres, "redis": _redis}
            return [line for name in COMPONENTS for line in parts[name](site)]
        finally:
            lab.down()


def _postgres(site: Site) -> list[str]:
    with superuser(site.lab.place(), DATABASE) as server:
        server.execute("CREATE TABLE numbers (n bigint)")
        server.execute("GRANT INSERT ON numbers TO aeterna_backup")
    gaps: dict[str, list[float]] = {"ours": [], "patronictl": []}
    written = lost = 0
    for number in range(2 * PAIRS):
        way = ("ours", "patronictl")[number % 2]
        until(lambda: healthy(site.lab))
        first, second = _two(site.lab)
        with Writer(_rows(site.profile)) as writer:
            if way == "ours":
                site.cli("failover", "switchover", "--component", "postgres", "--to", second,
                         "--no-probe")  # fmt: skip
            else:
                site.patronictl(first, second)
        with superuser(site.lab.place(), DATABASE) as server:
            found = {row[0] for row in server.execute("SELECT n FROM numbers").fetchall()}
            server.execute("TRUNCATE numbers")
        lost += len(set(writer.acknowledged) - found)
        written += len(writer.acknowledged)
        gaps[way].append(writer.gap)
        print(f"  postgres, {way}: {first} to {second}, gap {writer.gap:.2f} s", flush=True)
    if lost:
        raise RuntimeError(f"{lost} of {written} acknowledged rows are lost")
    ours, theirs = (statistics.median(gaps[way]) for way in ("ours", "patronictl"))
    ratio = ours / theirs
    judged = "met" if ratio <= TARGET else "MISSED"
    return [
        f"PostgreSQL, planned: write gap {ours:.2f} s (median of {PAIRS}), patronictl"
        f" {theirs:.2f} s: {ratio:.2f}x (target <= {TARGET}x: {judged});"
        f" {2 * PAIRS} switchovers, 0 of {written:,} acknowledged rows lost",
    ]


def _two(lab: Lab) -> tuple[str, str]:
    members = cluster(lab)
    first = next(name for name, one in members.items() if one["role"] == "leader")
    second = next(name for name, one in members.items() if one["role"] == "sync_standby")
    return first, second


def _rows(profile: Profile) -> Callable[[int], None]:
    settings = profile.postgres.model_copy(update={"connect_timeout": 2})
    kept: list[Any] = []

    def write(number: int) -> None:
        try:
            with postgres_errors():
                if not kept:
                    kept.append(connect(settings))
                kept[0].execute("INSERT INTO numbers VALUES (%s)", (number,))
        except AeternaError:
            if kept:
                kept.pop().close()
            raise

    return write


def _keys(connection: RedisConnection) -> Callable[[int], None]:
    def write(number: int) -> None:
        connection.call("SET", f"n:{number}", number)

    return write


def _redis(site: Site) -> list[str]:
    gaps: list[float] = []
    written = lost = 0
    for number in range(2 * PAIRS):
        until(lambda: healthy(site.lab))
        connection = RedisConnection(site.profile.redis.model_copy(update={"timeout": 1}))
        try:
            with Writer(_keys(connection)) as writer:
                site.cli("failover", "switchover", "--component", "redis", "--no-probe")
            names = [f"n:{n}" for n in writer.acknowledged]
            there = connection.batch([["EXISTS", name] for name in names])
            connection.call("UNLINK", *names)
        finally:
            connection.close()
        lost += sum(not one for one in there)
        written += len(names)
        gaps.append(writer.gap)
        print(
            f"  redis, run {number + 1}: gap {writer.gap:.2f} s, {len(names):,} writes", flush=True
        )
    if lost:
        raise RuntimeError(f"{lost} of {written} acknowledged writes are lost")
    with Deployment(NAME, site.profile).redis as server:
        version = f"{server.identity().version}"
    return [
        f"Redis (Valkey {version}), planned: write gap {statistics.median(gaps):.2f} s (median),"
        f" at most {max(gaps):.2f} s; {len(gaps)} switchovers, 0 of {written:,} acknowledged writes"
        " lost",
    ]
