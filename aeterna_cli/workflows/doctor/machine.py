"""What is looked at on this machine: programs for scratch starts, disk space, clocks."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from aeterna_cli.deployment import Deployment
from aeterna_cli.output.tables import human_bytes
from aeterna_cli.stores import binaries, helpers
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.doctor.look import Look, Seen
from aeterna_cli.workflows.doctor.platform import POSTGRES, REDIS, Purpose
from aeterna_cli.workflows.doctor.repository import REPOSITORY

Clock = Callable[[], datetime]

#: a recovery point is told in this machine's time, ``--at`` is judged in the server's
SKEW = timedelta(seconds=2)
#: the least for unfinished volumes, which are cut into parts before they are sent
LEAST_SPACE = 1 << 30  # bytes
_PROGRAMS = ("postgres", "pg_controldata", "pg_verifybackup", "pg_checksums")


def looks(place: Deployment, purposes: Sequence[Purpose], clock: Clock) -> Iterator[Look]:
    if "restore" in purposes:
        yield Look("PostgreSQL programs", lambda: _postgres_programs(place), POSTGRES)
        yield Look("Redis program", lambda: _redis_program(place), REDIS)
        yield Look("server control", lambda: _server_control(place))
    yield Look("space, unfinished files", lambda: _cache_space(place))
    if "restore" in purposes:
        yield Look("space, scratch and restore", lambda: _restore_space(place), POSTGRES)
    for subject, needs, ask in _clocks(place):
        yield Look(subject, partial(judge_clock, subject, ask, clock), needs)


# -- programs


def _postgres_programs(place: Deployment) -> Seen:
    """The programs that a scratch start of this server would use, asked for their version."""
    wanted = place.postgres.identity().major
    folder = binaries.postgres_bin(wanted, place.profile.postgres.bin_dir)
    said = version_of(folder / "postgres")
    if said[:1] != (wanted,):
        return Seen(findings=[wrong_major(folder, said, wanted)])
    missing = [name for name in _PROGRAMS if not (folder / name).is_file()]
    if not missing:
        return Seen(str(folder))
    message = f"{', '.join(missing)} missing: a restored directory would be checked less"
    mend = f"apt-get install postgresql-{wanted}"
    return Seen(findings=[Finding("program_missing", "warning", str(folder), message, mend)])


def wrong_major(folder: Path, said: tuple[int, ...], wanted: int) -> Finding:
    found = f"PostgreSQL {said[0]}" if said else "no PostgreSQL that runs here"
    return Finding(
        "postgres_programs_wrong_major",
        "error",
        str(folder),
        f"this is {found}, the server is PostgreSQL {wanted}: a scratch start would fail",
        f"set postgres.bin_dir to the programs of PostgreSQL {wanted}",
    )


def version_of(program: Path) -> tuple[int, ...]:
    """What a PostgreSQL or Redis program says with ``--version``; empty where it is none."""
    try:
        done = helpers.run([program, "--version"], timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(?:v=|\(PostgreSQL\) )(\d+(?:\.\d+)*)", done.stdout)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _redis_program(place: Deployment) -> Seen:
    """The scratch server reads what the server writes, and the other way round."""
    from aeterna_cli.stores.redis_info import numbers
    from aeterna_cli.stores.redis_load import readable_by

    program = binaries.redis_server(place.profile.redis.server_binary)
    found, server = version_of(program), place.redis.identity()
    flavour = "valkey" if "valkey" in program.name else "redis"
    if not found:
        message, mend = f"{program} does not run here", "set redis.server_binary"
        return Seen(findings=[Finding("redis_program_broken", "error", flavour, message, mend)])
    here, there = (flavour, found), (server.flavour, numbers(server.version))
    if readable_by(here, there) and readable_by(there, here):
        return Seen(f"{program.name} {'.'.join(map(str, found))}")
    message = (
        f"a scratch {flavour} {'.'.join(map(str, found))} and {server.flavour} {server.version}"
        " cannot read each other's data"
    )
    mend = f"set redis.server_binary to a {server.flavour}-server {server.version}"
    return Seen(findings=[Finding("redis_program_unfit", "error", str(program), message, mend)])


def _server_control(place: Deployment) -> Seen:
    if place.server_control.can_hand_over("postgres"):
        return Seen(place.server_control.description)
    finding = Finding(
        "no_server_control",
        "info",
        "server_control",
        "a restored PostgreSQL data directory will be left beside, to be put in place by hand",
        "set server_control in the profile",
    )
    return Seen(findings=[finding])


# -- space


def _cache_space(place: Deployment) -> Seen:
    return judge_space(place.cache_directory, LEAST_SPACE, "unfinished files of a backup", "error")


def _restore_space(place: Deployment) -> Seen:
    """A second copy of PostgreSQL: of ``restore run`` beside the data, of a proof in the cache."""
    needed = place.postgres.identity().data_bytes
    seen = [judge_space(place.cache_directory, needed, "backup verify with a restore", "warning")]
    if place.server_control.can_hand_over("postgres"):
        data = place.server_control.data_directory("postgres")
        seen.append(judge_space(data.parent, needed, "a restored PostgreSQL", "error"))
    return Seen(
        "; ".join(one.answer for one in seen if one.answer),
        [finding for one in seen for finding in one.findings],
    )


def judge_space(folder: Path, needed: int, purpose: str, severity: str) -> Seen:
    """Whether ``needed`` bytes are free where ``folder`` is or will be, and it can be written."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        message = f"{purpose}: {existing} cannot be written by this user"
        mend = f"give this user the right to write {existing}"
        return Seen(findings=[Finding("folder_not_writable", severity, str(folder), message, mend)])
    free = shutil.disk_usage(existing).free
    if free >= needed:
        return Seen(f"{human_bytes(free)} free below {existing}")
    message = f"{purpose} needs {human_bytes(needed)}, {human_bytes(free)} are free"
    finding = Finding(
        "not_enough_space",
        severity,
        str(folder),
        message,
        "free space there",
        {"needed": needed, "free": free},
    )
    return Seen(findings=[finding])


# -- clocks


@dataclass(frozen=True)
class Told:
    """A clock elsewhere, read to ``resolution``."""

    time: datetime
    resolution: timedelta = timedelta()


def _clocks(place: Deployment) -> Iterator[tuple[str, str, Callable[[], Told]]]:
    from aeterna_cli.stores.postgres_condition import server_time

    yield "clock of PostgreSQL", POSTGRES, lambda: Told(server_time(place.profile.postgres))
    yield "clock of Redis", REDIS, lambda: _redis_clock(place)
    yield (
        "clock of the repository",
        REPOSITORY,
        lambda: Told(place.objects.now(), timedelta(seconds=1)),
    )


def _redis_clock(place: Deployment) -> Told:
    seconds, microseconds = (int(part) for part in place.redis.connection.call("TIME"))
    return Told(datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds))


def judge_clock(subject: str, ask: Callable[[], Told], clock: Clock) -> Seen:
    """How far a clock is from ours; what the way there and its resolution may hide is forgiven."""
    before = clock()
    told = ask()
    after = clock()
    if before - SKEW <= told.time + told.resolution and told.time <= after + SKEW:
        return Seen("within 2 s")
    apart = max(before - told.time - told.resolution, told.time - after)
    where = "behind" if told.time < before else "ahead"
    finding = Finding(
        "clock_skewed",
        "warning",
        subject,
        f"it is {apart.total_seconds():.1f} s {where} of this machine's: a recovery point's time"
        " and --at mean another moment there",
        "set both by NTP (chronyc tracking)",
        {"seconds": round(apart.total_seconds(), 3)},
    )
    return Seen(findings=[finding])
