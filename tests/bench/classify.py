"""``tenant classify`` of a thousand tenants over two million points, against bare counts.

Points have four dimensions and no payload but the tenant and the time of creation, with the payload
indexes that make a facet possible. The same server, in the same run, is asked for one exact count
and one exact facet of the collection, and the program's start is taken off: a ratio of 1 would be
an answer for every tenant at the price of one number. Requests are counted on the way: a thousand
tenants must not make a thousand.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.part import Place
from aeterna_cli.lab.postgres import BACKUP, DATABASE, superuser
from aeterna_cli.lab.seed import rows
from aeterna_cli.lab.seed.run import DEFAULT_SEED
from aeterna_cli.lab.seed.tenants import SHARED, Tenant, tenants
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.qdrant_http import QdrantHttp
from tests.integration.stores.qdrant_server import FaultProxy

POINTS, TENANTS, ROUNDS, BATCH = 2_000_000, 1_000, 3, 5_000
SCALE = 0.001
DAY = 86_400


@dataclass(frozen=True)
class Ran:
    """One run of the command."""

    seconds: float
    peak: int  # bytes
    data: Any


def run(points: int = POINTS, everybody: int = TENANTS, rounds: int = ROUNDS) -> list[str]:
    """The lines to print. ``RuntimeError`` where a count is not what was written."""
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "lab")
        try:
            lab.up(("postgres", "qdrant"))
            return _measured(lab, Path(folder), points, everybody, rounds)
        finally:
            lab.down()


def _measured(lab: Lab, folder: Path, points: int, everybody: int, rounds: int) -> list[str]:
    settings = lab.profile().qdrant
    everyone = tenants(SCALE, max(0, everybody - len(tenants(SCALE))))
    extra = len(everyone) - len(tenants(SCALE))
    rows.write(lab.place(), DEFAULT_SEED, SCALE, everyone, extra=extra)
    with closing(QdrantHttp(settings)) as http:
        return _compared(lab, folder, http, everyone, points=points, rounds=rounds)


def _compared(
    lab: Lab,
    folder: Path,
    http: QdrantHttp,
    everyone: tuple[Tenant, ...],
    *,
    points: int,
    rounds: int,
) -> list[str]:
    began = time.monotonic()
    written = _fill(http, everyone, points)
    filled = time.monotonic() - began
    command = _Command(lab, folder)
    counts, facets, starts, runs = [], [], [], []
    for _ in range(rounds):
        counts.append(_timed(lambda: _count(http, points)))
        facets.append(_timed(lambda: _facet(http)))
        starts.append(_timed(command.start))
        runs.append(command.run())
    _check(runs[-1].data, written)
    bare, facet = statistics.median(counts), statistics.median(facets)
    start, seconds = statistics.median(starts), statistics.median(one.seconds for one in runs)
    work = max(0.0, seconds - start)
    with _counting(lab.profile().qdrant) as proxy, _logging(lab.place()) as statements:
        command.run(AETERNA_QDRANT__URL=proxy.url)
        asked, told = proxy.count, statements()
    return [
        f"classify: {len(everyone):,} tenants, {points:,} points of 4 dimensions"
        f" (filled in {filled:.0f} s): {seconds:.2f} s, {start:.2f} s of it the program's start"
        f" (medians of {rounds}),"
        f" peak memory {max(one.peak for one in runs) / 2**20:.0f} MiB",
        f"  a bare exact count {bare:.3f} s: ratio {work / bare:.1f};"
        f" a bare exact facet {facet:.3f} s: ratio {work / facet:.1f}",
        f"  requests: Qdrant {asked}, PostgreSQL {told} statements; none is per tenant",
    ]


# -- the data


def _fill(http: QdrantHttp, everyone: tuple[Tenant, ...], points: int) -> Counter[str]:
    """Some tenants are much larger than others; how many points each has, by id."""
    http.call("PUT", f"/collections/{SHARED}", {"vectors": {"size": 4, "distance": "Dot"}})
    for field, schema in (
        ("tenant_id", {"type": "keyword", "is_tenant": True}),
        ("created_at", {"type": "integer", "lookup": True, "range": True}),
    ):
        index = {"field_name": field, "field_schema": schema}
        http.call("PUT", f"/collections/{SHARED}/index?wait=true", index)
    chance, now = random.Random(1), int(time.time())  # noqa: S311 - data, not a secret
    ids = [str(one.id(DEFAULT_SEED)) for one in everyone]
    written: Counter[str] = Counter()
    for start in range(0, points, BATCH):
        batch = []
        for number in range(start, min(start + BATCH, points)):
            tenant = ids[int(len(ids) * chance.random() ** 3)]
            written[tenant] += 1
            payload = {"tenant_id": tenant, "created_at": now - chance.randrange(90) * DAY - 60}
            vector = [chance.random(), chance.random(), chance.random(), 1.0]
            batch.append({"id": str(UUID(int=number)), "vector": vector, "payload": payload})
        http.upsert(SHARED, {"points": batch})
    return written


def _check(data: Any, written: Counter[str]) -> None:
    found = {one["id"]: one["counts"]["memory_points"] for one in data["tenants"]}
    if {key: count for key, count in found.items() if count} != dict(written):
        raise RuntimeError("the counts are not what was written")


# -- what is compared


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _count(http: QdrantHttp, points: int) -> None:
    found = http.call("POST", f"/collections/{SHARED}/points/count", {"exact": True})["count"]
    if found != points:
        raise RuntimeError(f"{found} points of {points}")


def _facet(http: QdrantHttp) -> None:
    body = {"key": "tenant_id", "limit": 50_000, "exact": True}
    http.call("POST", f"/collections/{SHARED}/facet", body)


class _Command:
    """The command line in a process of its own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._environment = {
            **os.environ,
            "AETERNA_LAB_DIR": str(lab.directory),
            "AETERNA_PROFILE": "lab",
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def start(self) -> None:
        """The program starts, and does nothing."""
        words = [sys.executable, "-m", "aeterna_cli", "tenant", "classify", "--help"]
        subprocess.run(words, env=self._environment, check=True, capture_output=True)

    def run(self, **environment: str) -> Ran:
        words = [sys.executable, "-m", "aeterna_cli", "tenant", "classify", "-q", "-o", "json"]
        began = time.perf_counter()
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                words, env={**self._environment, **environment}, stdout=output, stderr=said
            )
            _pid, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.perf_counter() - began
            output.seek(0)
            said.seek(0)
            if process.returncode:
                raise RuntimeError(said.read().decode()[-2000:])
            return Ran(seconds, usage.ru_maxrss * 1024, json.loads(output.read())["data"])


# -- requests


class _CountingProxy(FaultProxy):
    count = 0

    def __enter__(self) -> "_CountingProxy":
        super().__enter__()
        self._server.daemon_threads = False  # closing waits for them, and their connections
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _handle(self, handler: Any) -> None:
        self.count += 1
        super()._handle(handler)


@contextmanager
def _counting(settings: QdrantSettings) -> Iterator[_CountingProxy]:
    port = int(str(settings.url).rstrip("/").rsplit(":", 1)[1])
    with _CountingProxy(port) as proxy:
        yield proxy


@contextmanager
def _logging(place: Place) -> Iterator[Callable[[], int]]:
    """How many statements our role has sent since this began, by the server's own log."""
    from psycopg import sql

    role = sql.Identifier(BACKUP)
    log = place.log("postgres")
    with superuser(place, DATABASE) as server:
        server.execute(sql.SQL("ALTER ROLE {} SET log_statement = 'all'").format(role))
        start = log.stat().st_size
        try:
            yield lambda: _statements(log, start)
        finally:
            server.execute(sql.SQL("ALTER ROLE {} RESET log_statement").format(role))


def _statements(log: Path, start: int) -> int:
    with log.open("rb") as file:
        file.seek(start)
        return sum(b" LOG:  statement: " in line or b" LOG:  execute " in line for line in file)


if __name__ == "__main__":
    for text in run(*(int(word) for word in sys.argv[1:])):
        sys.stdout.write(text + "\n")
