"""Moves of a tenant under an application that writes, judged by the application's own log.

A whole lab, the command line as a process of its own, and ``lab workload`` in this one: the moved
tenant and a neighbour in the same collection, a delay between the first and the second write that
widens every race, 2 % of the second writes dropped. A move counts as clean where nothing was lost,
resurrected, stale or wrong, at rest and for every reader, and no client saw an error. The Qdrant
server is the lab's: the real engine behind an emulated server, one peer.

``AETERNA_BENCH_MOVES`` (100000 points), ``AETERNA_BENCH_MOVE_RUNS`` (10), ``AETERNA_BENCH_KILLS``
(50) and ``AETERNA_BENCH_PACE`` (the command's ``--pace``) make it another one for trying.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.lab.workload.folder import Moved
from aeterna_cli.lab.workload.judging import Strictness
from aeterna_cli.lab.workload.surroundings import ShardServers, placing
from aeterna_cli.lab.workload.verdict import TenantVerdict, Verdict
from aeterna_cli.lab.workload.workload import Workload
from aeterna_cli.lab.workload.writer import Habits
from aeterna_cli.settings import Profile
from aeterna_cli.stores.base.placement import PointsPlace

POINTS = int(os.environ.get("AETERNA_BENCH_MOVES", "100000"))
RUNS = int(os.environ.get("AETERNA_BENCH_MOVE_RUNS", "10"))
KILLS = int(os.environ.get("AETERNA_BENCH_KILLS", "50"))
PACE = os.environ.get("AETERNA_BENCH_PACE", "50")
CONTRACTS = os.environ.get("AETERNA_BENCH_CONTRACTS", "dual,reread,maintenance,killed").split(",")
SIZE = 384
NAME, SOURCE, TARGET = "bench", "memories-shared-bench", "memories-dedicated-bench"
FROM, TO = PointsPlace("from", SOURCE), PointsPlace("to", TARGET)
TENANT = Moved("00000000-0000-4000-8000-00000000000a", FROM, "large-corp")
NEIGHBOUR = Moved("00000000-0000-4000-8000-00000000000b", FROM, "neighbour")
BEFORE, DURING = "before", "during"
WATCHED = 20.0  # seconds before the move in which the neighbour's latencies are taken
BOUNDS = {"dual": 0.2, "reread": 2.0}
PARTS = ("postgres", "redis", "vault", "qdrant")
NEIGHBOURS_POINTS = 5_000

MIGRATE = (
    "tenant", "migrate", "--tenant-id", TENANT.name, "--to-shard", "to", "--wait", "--pace", PACE,
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """One move: what the command said, and what the judge says of each tenant."""

    answer: Mapping[str, Any]
    seconds: float
    moved: TenantVerdict
    neighbour: TenantVerdict

    @property
    def clean(self) -> bool:
        return self.moved.clean and self.neighbour.clean

    @property
    def pause(self) -> float:
        """Of the moved tenant's writes while it was moved, seconds."""
        return self.moved.measured.pause_by_phase.get(DURING, 0.0) if self.moved.measured else 0.0

    @property
    def latencies(self) -> tuple[float, float]:
        """The neighbour's p99 of writes before and during the move, milliseconds."""
        measured = self.neighbour.measured
        if measured is None:
            raise RuntimeError("the neighbour's writes were not measured")
        before, during = (measured.latency(phase, "write").p99 for phase in (BEFORE, DURING))
        return before, during

    @property
    def slowdown(self) -> float:
        """The neighbour's p99 of writes during the move against before it."""
        before, during = self.latencies
        return during / before


class LiveMoves:
    """A lab, a profile of one contract at a time, and moves in it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self._number = 0
        self._environment = {
            **os.environ,
            "AETERNA_CONFIG": str(folder / "config.toml"),
            "AETERNA_PROFILE": NAME,
            "AETERNA_LAB_DIR": str(lab.directory),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def prepare(self) -> None:
        """Tenants, a repository, two shards."""
        with superuser(self._lab.place(), DATABASE) as connection:
            connection.execute(
                "CREATE TABLE public.tenants (id uuid PRIMARY KEY, slug text NOT NULL UNIQUE,"
                " name text NOT NULL, status text NOT NULL DEFAULT 'active',"
                " created_at timestamptz NOT NULL DEFAULT now())"
            )
            for one in (TENANT, NEIGHBOUR):
                connection.execute(
                    "INSERT INTO public.tenants (id, slug, name) VALUES (%s, %s, %s)",
                    (one.id, one.name, one.name),
                )
        self.write_profile("dual")
        self.cli("repository", "init")

    def write_profile(
        self, contract: str, hooks: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        tree = lab_profile.tree(self._lab.place())
        tree["repository"] = {"url": str(self._folder / "repository")}
        tree["application"] = {"contract": contract, "route_ttl": 5, **(hooks or {})}
        lines = lab_profile.table(f"profiles.{NAME}", tree)
        (self._folder / "config.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.profile = Profile.model_validate(tree)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "aeterna_cli", *words, "--yes", "-q", "-o", "json"]

    def cli(self, *words: str) -> Any:
        """``RuntimeError`` with what it said where it failed."""
        done = subprocess.run(
            self.command(*words), env=self._environment, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr.decode()}")
        return json.loads(done.stdout)["data"]

    def popen(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*words),
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    @contextmanager
    def application(
        self, contract: str, points: int, habits: Habits, size: int = SIZE
    ) -> Iterator[Workload]:
        """Both tenants' points are at the source, an application writes them; all is new."""
        place = Deployment(NAME, self.profile)
        with superuser(self._lab.place(), DATABASE) as connection:
            connection.execute(
                "DROP TABLE IF EXISTS aeterna_ops.placement_ack, aeterna_ops.tenant_placement,"
                " aeterna_ops.shard, aeterna_ops.tenant_move"
            )
        http = place.qdrant._http
        for name in (SOURCE, TARGET):
            http.call("DELETE", f"/collections/{name}")
            http.call(
                "PUT", f"/collections/{name}", {"vectors": {"size": size, "distance": "Cosine"}}
            )
        self._number += 1
        kind: Any = "none" if contract == "maintenance" else contract
        for shard, name in (("from", SOURCE), ("to", TARGET)):
            self.cli("shard", "add", shard, "--collection", name)
        clients = (
            placing(self.profile, place.placement, kind, instances=2) if kind != "none" else None
        )
        workload = Workload(
            self._folder / f"workload-{self._number}",
            [TENANT, NEIGHBOUR],
            ShardServers(self.profile, place.placement),
            contract=kind,
            placing=clients,
            habits=habits,
            dimensions=size,
        )
        try:
            with workload:
                workload.prepare({TENANT.id: points, NEIGHBOUR.id: min(points, NEIGHBOURS_POINTS)})
                yield workload
        finally:
            place.close()

    def judged(self, workload: Workload) -> Verdict:
        workload.stop()
        return workload.verdict(Strictness())


def run() -> list[str]:
    """The lines to print. ``RuntimeError`` where a move was not clean."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a folder of our own in it
    with tempfile.TemporaryDirectory(dir=where) as folder:
        lab = Lab(Path(folder) / "lab")
        try:
            lab.up(PARTS)
            moves = LiveMoves(lab, Path(folder))
            moves.prepare()
            lines: list[str] = []
            for contract in BOUNDS:
                lines += _under(moves, contract) if contract in CONTRACTS else []
            lines += _maintenance(moves) if "maintenance" in CONTRACTS else []
            lines += _killed(moves) if "killed" in CONTRACTS else []
            return lines
        finally:
            lab.down()


def usual() -> Habits:
    """Widened races: 20 ms between the two writes; one in fifty second writes is dropped."""
    return Habits(writers=2, readers=1, rate=40.0, delay=0.02, drop=0.02)


def _under(moves: LiveMoves, contract: str) -> list[str]:
    ended = []
    for _ in range(RUNS):
        moves.write_profile(contract)
        ended.append(_one(moves, contract))
        _say(contract, ended[-1])
    bound = BOUNDS[contract]
    longest = max(one.pause for one in ended)
    return [
        _summary(contract, ended),
        f"  longest pause of the tenant's writes {longest * 1000:.0f} ms"
        f" (target <= {bound * 1000:.0f} ms: {'met' if longest <= bound else 'MISSED'})",
    ]


def _one(moves: LiveMoves, contract: str) -> Ended:
    with moves.application(contract, POINTS, usual()) as workload:
        workload.start()
        workload.mark(BEFORE)
        time.sleep(WATCHED)  # latencies are taken over a time: nothing is waited for
        workload.mark(DURING)
        began = time.monotonic()
        answer = moves.cli(*MIGRATE)
        seconds = time.monotonic() - began
        workload.mark("after")
        time.sleep(2)  # as above
        verdict = moves.judged(workload)
        return Ended(answer, seconds, verdict.tenant(TENANT.id), verdict.tenant(NEIGHBOUR.id))


def _maintenance(moves: LiveMoves) -> list[str]:
    """The platform as it ships: predicted against measured."""
    ended = []
    for number in range(max(1, RUNS // 3)):
        where = moves._folder / f"where-{number}"
        hook = ("sh", "-c")
        hooks = {
            verb: (
                *hook,
                f'exec {sys.executable} -m aeterna_cli.lab.workload.hold {verb} "$(cat {where})"',
            )
            for verb in ("hold", "switch", "release")
        }
        moves.write_profile("maintenance", hooks)
        with moves.application("maintenance", POINTS, usual()) as workload:
            where.write_text(str(workload.folder))
            workload.start()
            workload.mark(BEFORE)
            time.sleep(WATCHED)  # as above
            workload.mark(DURING)
            began = time.monotonic()
            answer = moves.cli(*MIGRATE)
            seconds = time.monotonic() - began
            verdict = moves.judged(workload)
        ended.append(
            Ended(answer, seconds, verdict.tenant(TENANT.id), verdict.tenant(NEIGHBOUR.id))
        )
        _say("maintenance", ended[-1])
    off = max(abs(one.answer["held"] / one.answer["prediction"] - 1) for one in ended)
    held = ", ".join(
        f"{one.answer['held']:.1f} s (predicted {one.answer['prediction']:.1f} s)" for one in ended
    )
    return [
        _summary("maintenance", ended),
        f"  writes held for {held}: at most {off:.0%} off (target 20 %:"
        f" {'met' if off <= 0.2 else 'MISSED'})",
    ]


def _say(contract: str, one: Ended) -> None:
    before, during = one.latencies
    print(
        f"  {contract}: {'clean' if one.clean else 'NOT CLEAN'}, {one.seconds:.1f} s,"
        f" held {one.answer['held']}, pause {one.pause * 1000:.0f} ms,"
        f" neighbour's p99 {one.slowdown:.2f}x ({before:.1f} -> {during:.1f} ms),"
        f" {one.moved.acknowledged:,} writes"
        f" (prepared ones too),"
        f" {sum(one.moved.second_writes_missing.values())} second writes missing",
        flush=True,
    )
    for verdict in (one.moved, one.neighbour):
        if not verdict.clean:
            print(f"    {verdict.name}: {verdict.counts()} {verdict.client_errors}", flush=True)


def _summary(contract: str, ended: Sequence[Ended]) -> str:
    clean = sum(one.clean for one in ended)
    totals = {
        name: sum(one.moved.counts()[name] + one.neighbour.counts()[name] for one in ended)
        for name in ("lost", "resurrected", "stale", "wrong")
    }
    errors = sum(
        sum(side.client_errors.values()) for one in ended for side in (one.moved, one.neighbour)
    )
    slowest = max(one.slowdown for one in ended)
    counted = ", ".join(f"{count} {name}" for name, count in totals.items())
    text = (
        f"{contract}: {clean} of {len(ended)} moves of {POINTS:,} points ({SIZE} dimensions) clean:"
        f" {counted}, {errors} client errors; neighbour's p99 at most {slowest:.2f}x"
        f" (target <= 2x: {'met' if slowest <= 2 else 'MISSED'})"
    )
    if clean < len(ended):
        raise RuntimeError(text)
    return text


def _killed(moves: LiveMoves) -> list[str]:
    """kill -9 at random moments of small moves; the same command ends each."""
    dice, delivered, number, usual_time = random.Random(1), 0, 0, 6.0  # noqa: S311 - moments
    words = MIGRATE
    moves.write_profile("dual")
    while delivered < KILLS:
        number += 1
        with moves.application("dual", 1_000, usual(), size=16) as workload:
            workload.start()
            for _ in range(5):
                began = time.monotonic()
                process = moves.popen(*words)
                try:
                    process.wait(timeout=dice.uniform(0.5, usual_time))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    delivered += 1
                else:
                    usual_time = max(2.0, min(usual_time, 1.2 * (time.monotonic() - began)))
                    break
            moves.cli(*words)
            moves.cli("tenant", "migration", "verify", "--tenant-id", TENANT.name)
            done = moves.cli(
                "tenant",
                "migration",
                "complete",
                "--tenant-id",
                TENANT.name,
                "--confirm",
                TENANT.name,
            )
            workload.stop()
            verdict = workload.verdict(Strictness(emptied={TENANT.id: [FROM]}))
            if not verdict.clean or done["phase"] != "complete":
                raise RuntimeError(f"after kill -9: {[one.counts() for one in verdict.tenants]}")
        print(f"  kill -9: {delivered} so far, {number} moves", flush=True)
    return [
        f"kill -9 at {delivered} random moments of {number} moves: each ended by the same command,"
        " all clean, nothing left at the source"
    ]
