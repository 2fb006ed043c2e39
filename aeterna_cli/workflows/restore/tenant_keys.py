"""A tenant's keys back: a scratch server takes in what was saved, the live one takes them over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aeterna_cli.deployment import Deployment
from aeterna_cli.stores import binaries
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.restore.tenant_slice import TenantSlice, blocks
from aeterna_cli.workflows.tenant.archive import KEYS, OWN_KEYS, SHARED_KEYS
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts

if TYPE_CHECKING:
    from aeterna_cli.stores.redis_slice import RedisSlice

_BATCH = 250


@dataclass(frozen=True)
class KeysChange:
    """What a restore does (or did), in keys. ``archived`` had not expired yet; ``surplus`` go (mode
    replace); of the ``shared`` ones, which other tenants have too, those that are missing come back
    and the others stay as they are."""

    archived: int
    live: int
    surplus: int
    shared: int
    shared_missing: int


class TenantKeys:
    """The keys of one restore. ``work`` is a private folder for the scratch server."""

    def __init__(
        self,
        place: Deployment,
        source: TenantSlice,
        whereabouts: Whereabouts,
        work: Path,
        stop: Callable[[], bool],
    ) -> None:
        self._place = place
        self._source = source
        self._whereabouts = whereabouts
        self._work = work
        self._stop = stop

    def look(self, mode: str) -> KeysChange:
        """What would be done; reads only."""
        with self._both() as (saved, live):
            return self._looked(saved, live, mode)

    def apply(self, mode: str) -> KeysChange:
        """Every key of the archive that has not expired is there; may be repeated."""
        with self._both() as (saved, live):
            change = self._looked(saved, live, mode)
            live.take_from(saved, replace=mode == "replace", shared=False)
            live.take_from(saved, replace=False, shared=True)
            if mode == "replace":
                self._remove(saved, live)
        return change

    def compare(self, mode: str, now: datetime) -> list[Finding]:
        """The live keys against the archive's by meaning; what expired meanwhile is no loss."""
        from aeterna_cli.stores.redis_digests import compare

        if mode == "missing":
            return []
        with self._both() as (saved, live):
            return list(compare(saved.digests(), live.digests(), now))

    def _looked(self, saved: "RedisSlice", live: "RedisSlice", mode: str) -> KeysChange:
        own = shared = 0
        missing = 0
        for keys in saved.pages():
            own += sum(not one.shared for one in keys)
            others = [one.key for one in keys if one.shared]
            shared += len(others)
            missing += len(others) - live.present(others)
        there = sum(1 for keys in live.pages() for one in keys if not one.shared)
        surplus = sum(1 for _ in live.surplus(saved)) if mode == "replace" else 0
        return KeysChange(own, there, surplus, shared, missing)

    def _remove(self, saved: "RedisSlice", live: "RedisSlice") -> None:
        batch = []
        for one in live.surplus(saved):
            batch.append(one)
            if len(batch) >= _BATCH:
                live.remove(batch)
                batch = []
        if batch:
            live.remove(batch)

    @contextmanager
    def _both(self) -> Iterator[tuple["RedisSlice", "RedisSlice"]]:
        """The scratch server with what was saved, and the live one, seen by the same eyes."""
        from aeterna_cli.stores.redis_scratch import ScratchRedis
        from aeterna_cli.stores.redis_slice import RedisSlice

        profile, judge = self._place.profile.redis, self._whereabouts.keys
        program = binaries.redis_server(profile.server_binary)
        folder, tenant = self._work / "redis-keys", self._whereabouts.tenant.id
        with ScratchRedis(program, folder, database=profile.database) as scratch:
            scratch.start(stop=self._stop)
            for name in (OWN_KEYS, SHARED_KEYS):
                with self._source.open(KEYS, name) as stream:
                    scratch.server.logical_restore(blocks(stream), replace=True, stop=self._stop)
            saved = RedisSlice(scratch.client_settings(), judge, tenant, stop=self._stop)
            live = RedisSlice(profile, judge, tenant, stop=self._stop)
            with saved, live:
                yield saved, live
