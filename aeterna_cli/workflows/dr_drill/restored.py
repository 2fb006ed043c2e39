"""A backup brought back beside the real servers, and the drill's markers read out of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import FindingsError
from aeterna_cli.repository.opening import verify_parts
from aeterna_cli.settings import PostgresSettings, RedisSettings
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.dr_drill.writers import open_markers
from aeterna_cli.workflows.restore.opened import OpenedBackup

Found = dict[str, frozenset[int] | None]


class Restoring:
    """One backup, opened. ``checks`` fills with what was looked at in each store."""

    def __init__(self, ctx: Context, drill: str, backup: str, stores: Sequence[str]) -> None:
        self._ctx = ctx
        self._drill = drill
        self._opened = OpenedBackup.open(ctx.deployment, backup, None)
        self._stores = stores
        self.checks: dict[str, Mapping[str, int]] = {}

    @property
    def backup(self) -> str:
        return self._opened.id

    @property
    def recovery_point(self) -> datetime:
        return self._opened.manifest.recovery_point.time

    def scratch(self, moment: datetime | None) -> tuple[Found, list[str]]:
        """In servers of our own, one after the other; markers by store, and what is wrong.

        Nothing of them is left. ``moment`` takes PostgreSQL there.
        """
        from aeterna_cli.stores.postgres_scratch import RecoveryTarget
        from aeterna_cli.workflows.backup.verify_restore import ScratchRestore, space_needed
        from aeterna_cli.workflows.scratch import scratch
        from aeterna_cli.workflows.workspace import want_space

        findings = [one.message for one in self._damage()]
        parent = self._ctx.deployment.cache_directory / "work"
        want_space(parent, space_needed(self._opened), "restoring this backup to scratch servers")
        watch = _MarkerWatch(self._drill)
        target = RecoveryTarget(time=moment) if moment is not None else None
        with scratch(parent) as work:
            done = ScratchRestore(
                self._ctx, self._opened, work, only=set(self._stores), target=target, watch=watch
            ).run(frozenset())
        for one in done:
            self.checks[one.store] = {check.name: check.count for check in one.checks}
        findings += [
            f"{one.store}: {finding.message}"
            for one in done
            for finding in one.findings
            if finding.severity in ("error", "warning")
        ]
        return {store: watch.found.get(store) for store in self._stores}, findings

    def _damage(self) -> Iterator[Finding]:
        """What is wrong with stored bytes that a scratch server does not need: a store is more than
        its data. ``RefusedError('store_not_in_backup')``."""
        for store in self._stores:
            part = self._opened.part(store)
            if store == "redis":  # of the others every volume is opened
                for record in part.volumes:
                    yield from verify_parts(self._ctx.deployment.objects, record)

    def into(self, target: Deployment) -> tuple[Found, list[str]]:
        """In the servers of another profile, by ``restore run``; what they held is replaced."""
        from aeterna_cli.workflows.restore import run
        from aeterna_cli.workflows.restore.choice import choose

        choice = choose(
            self.backup,
            at=None,
            lsn=None,
            name=None,
            store=list(self._stores),
            into=target.name,
            data_dir=None,
            allow_skew=None,
            identity=None,
        )
        nested = self._ctx
        nested.flags = replace(nested.flags, confirm=target.name)
        findings: list[str] = []
        try:
            result = run.run(nested, choice).data
            self._remember(result)
        except FindingsError as error:
            findings.append(error.message)
        found: Found = {}
        for store in self._stores:
            markers = open_markers(target.profile, store, self._drill, 30)  # type: ignore[arg-type]
            try:
                found[store] = frozenset(markers.read())
            finally:
                markers.close()
        return found, findings

    def _remember(self, result: Any) -> None:
        for one in result["compared"]:
            self.checks[one["store"]] = {one["items"]: one["count"]}


class _MarkerWatch:
    """Reads the markers of one drill out of restored stores, while they are there."""

    def __init__(self, drill: str) -> None:
        self.found: dict[str, frozenset[int]] = {}
        self._drill = drill

    def postgres(self, settings: PostgresSettings) -> None:
        from aeterna_cli.stores.drill_postgres import PostgresMarkers

        markers = PostgresMarkers(settings, self._drill, 30)
        try:
            self.found["postgres"] = frozenset(markers.read())
        finally:
            markers.close()

    def redis(self, settings: RedisSettings) -> None:
        from aeterna_cli.stores.drill_redis import RedisMarkers

        markers = RedisMarkers(settings, self._drill, 30)
        try:
            self.found["redis"] = frozenset(markers.read())
        finally:
            markers.close()

    def qdrant(self, collection: str, ids: Path) -> None:
        """An image has ids only: a marker is known by the id that its number gives."""
        from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
        from aeterna_cli.stores.drill_qdrant import point_id

        if collection != OPS_COLLECTION:
            return
        with ids.open(encoding="utf-8") as file:
            there = {line.strip() for line in file}
        numbers, number = set(), 1
        missed = 0
        while missed < _MOST_MISSED:  # numbers are used in their order
            if point_id(self._drill, number) in there:
                numbers.add(number)
                missed = 0
            else:
                missed += 1
            number += 1
        self.found["qdrant"] = self.found.get("qdrant", frozenset()) | frozenset(numbers)


#: so many numbers in a row that are not there: an outage of a day at 200 a second has fewer tries
_MOST_MISSED = 20_000
