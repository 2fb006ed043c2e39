"""A highly-available lab for a module's tests, and how to wait until it is whole again."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aeterna_cli.lab import sentinel_answers, valkey
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.names import POSTGRES_NODES, REDIS_NODES, SENTINELS
from aeterna_cli.lab.part import NotReady
from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.lab.requests import request

PARTS = (*POSTGRES_NODES, *REDIS_NODES, *SENTINELS)


@contextmanager
def ha_lab(folder: Path, parts: tuple[str, ...] = PARTS) -> Iterator[Lab]:
    """Runs and is healthy; down and without processes afterwards."""
    lab = Lab(folder)
    try:
        lab.up(parts, topology="ha")
        until(lambda: healthy(lab))
        yield lab
    finally:
        lab.down()


def until(found: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def cluster(lab: Lab) -> dict[str, Any]:
    """Patroni's members by name, as the first node that answers tells; ``{}`` where none does."""
    place = lab.place()
    for name in POSTGRES_NODES:
        try:
            found = request("GET", place.ports[f"{name}-rest"], "/cluster", seconds=2).document()
        except NotReady:
            continue
        if "members" in found:
            return {one["name"]: one for one in found["members"]}
    return {}


def leader(lab: Lab) -> str | None:
    members = cluster(lab).values()
    return next((one["name"] for one in members if one["role"] == "leader"), None)


def writable(lab: Lab) -> bool:
    try:
        with superuser(lab.place(), DATABASE) as connection:
            connection.execute("SELECT 1")
    except NotReady:
        return False
    return True


def redis_primary(lab: Lab) -> str | None:
    """Whom all living Sentinels call the primary, if that node says so too."""
    place = lab.place()
    found = sentinel_answers.primary(place)
    if found is None or found[1] != valkey.primary_port(place):
        return None
    return next((name for name in REDIS_NODES if place.ports[name] == found[1]), None)


def healthy(lab: Lab) -> bool:
    """A leader, a synchronous standby and a replica that stream; a primary with two replicas that
    every Sentinel knows."""
    members = cluster(lab).values()
    roles = sorted(one["role"] for one in members)
    states = {one["state"] for one in members}
    if roles != ["leader", "replica", "sync_standby"] or states > {"running", "streaming"}:
        return False
    place = lab.place()
    try:
        known = [sentinel_answers.master(place, name) for name in SENTINELS]
    except NotReady:
        return False
    if redis_primary(lab) is None or len({(one["ip"], one["port"]) for one in known}) != 1:
        return False
    if any("in_progress" in one["flags"] or "down" in one["flags"] for one in known):
        return False
    if any(int(one["num-other-sentinels"]) != len(SENTINELS) - 1 for one in known):
        return False
    with valkey.client(place) as server:
        facts = server.info("replication")
    return int(facts["connected_slaves"]) == len(REDIS_NODES) - 1
