"""A tenant's keys into volumes: those it has alone, and those that others have too."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.datamap.keys import KeyClass
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError
from aeterna_cli.repository.volume import VolumeRecord
from aeterna_cli.stores import binaries
from aeterna_cli.workflows.tenant.archive import KEYS, OWN_KEYS, SHARED_KEYS
from aeterna_cli.workflows.tenant.whereabouts import Unclassified, Whereabouts

if TYPE_CHECKING:
    from aeterna_cli.stores.base.tenant_counts import Tally
    from aeterna_cli.workflows.backup.volumes import Volumes


@dataclass(frozen=True)
class CapturedKeys:
    """``digests`` are of the keys that the tenant has alone, None where no server program was there
    to open what was captured. ``doubtful`` says of how many keys nobody can tell whose they are."""

    volumes: tuple[VolumeRecord, ...]
    keys: int
    shared: int
    digests: dict[str, Any] | None
    unclassified: Unclassified
    doubtful: tuple[str, ...]


def capture(
    place: Deployment,
    whereabouts: Whereabouts,
    volumes: "Volumes",
    work: Path,
    stop: Callable[[], bool],
) -> CapturedKeys:
    """Both streams sealed while a scratch server takes the first one in and says what is in it."""
    from aeterna_cli.stores.redis_slice import RedisSlice
    from aeterna_cli.stores.redis_tenants import RedisTenants

    judge, tenant = whereabouts.keys, whereabouts.tenant.id
    tenants = RedisTenants(place.profile.redis)
    unclassified = Unclassified()

    def each(key: bytes, judged: KeyClass) -> None:
        if judged.holder == "unclassified":
            unclassified.add(whereabouts.mentioned(key))

    try:
        tally = tenants.tally(judge, sizes=False, each=each, stop=stop)
    finally:
        tenants.close()
    with RedisSlice(place.profile.redis, judge, tenant, stop=stop) as keys:
        own, digests = _own(place, keys.capture(shared=False), volumes, work)
        count = keys.captured
        with volumes.open(KEYS, SHARED_KEYS) as writer:
            for piece in keys.capture(shared=True):
                writer.write(piece)
            others = writer.commit()
        shared = keys.captured
    doubtful = tuple(_doubtful(tally))
    return CapturedKeys((own, others), count, shared, digests, unclassified, doubtful)


def _own(
    place: Deployment, stream: Iterator[bytes], volumes: "Volumes", work: Path
) -> tuple[VolumeRecord, dict[str, Any] | None]:
    """The first volume, and its digests by a scratch server."""
    from aeterna_cli.stores.redis_scratch import ScratchRedis

    with volumes.open(KEYS, OWN_KEYS) as writer:

        def sealed() -> Iterator[bytes]:
            for block in stream:
                writer.write(block)
                yield block

        program = scratch_program(place)
        if program is None:
            for _ in sealed():
                pass
            return writer.commit(), None
        database = place.profile.redis.database
        with ScratchRedis(program, work / "scratch-keys", database=database) as scratch:
            scratch.start()
            scratch.server.logical_restore(sealed(), replace=True)
            digests = scratch.server.digests().as_document()
        return writer.commit(), digests


def scratch_program(place: Deployment) -> Path | None:
    """A server program that can open what was captured; None where none is installed."""
    try:
        return binaries.redis_server(place.profile.redis.server_binary)
    except RefusedError as error:
        if error.code != "redis_server_missing":
            raise
        return None


def _doubtful(tally: "Tally") -> Iterator[str]:
    for holder in ("ambiguous", "unreadable"):
        count = sum(one.count for one in tally.others.get(holder, {}).values())
        if count:
            yield f"{count} keys that are {holder}"
