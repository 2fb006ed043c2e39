"""A tenant's backup while it runs: its steps, and what they hand to each other.

As any backup it is never resumed: without a manifest nothing of it is listed.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aeterna_cli import __version__
from aeterna_cli.context import Context, actor
from aeterna_cli.datamap.privileges import require_readable
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.repository.manifest import (
    LeftOut,
    Manifest,
    RecoveryPoint,
    Scope,
    StorePart,
    Window,
    commit,
)
from aeterna_cli.workflows.backup import tenant_keys, tenant_objects, tenant_points, tenant_rows
from aeterna_cli.workflows.backup.begin import begin
from aeterna_cli.workflows.backup.elsewhere import points_elsewhere
from aeterna_cli.workflows.backup.preflight import Preflight
from aeterna_cli.workflows.backup.recovery_point import position_text
from aeterna_cli.workflows.scratch import scratch
from aeterna_cli.workflows.tenant.archive import KEYS, OBJECTS, POINTS, ROWS, STORE_OF
from aeterna_cli.workflows.tenant.whereabouts import Unclassified, Whereabouts

if TYPE_CHECKING:
    from aeterna_cli.workflows.backup.tenant_create import Options

NEVER_CAPTURED = (
    LeftOut(what="git knowledge repositories", why="git remotes are their own copies"),
    LeftOut(what="Vault and KMS contents", why="keys are kept by their own service"),
    LeftOut(what="locks in Redis", why="they are of a moment"),
)
_NO_BUCKETS = LeftOut(
    what="application objects in S3", why="the profile names no object_stores to read"
)


@dataclass(frozen=True)
class Moment:
    """The snapshot of PostgreSQL. ``lsn`` is None where its position is not exact."""

    time: datetime
    lsn: int | None
    exact: bool
    reason: str


class RunningTenantBackup:
    """The steps of one backup, in the order in which ``tenant_create.plan`` names them."""

    def __init__(
        self, ctx: Context, asked: "Options", ready: Preflight, whereabouts: Whereabouts
    ) -> None:
        self.ctx = ctx
        self.asked = asked
        self.ready = ready
        self.whereabouts = whereabouts
        self.place = ctx.deployment
        self.begun = ctx.clock()
        self.moment = Moment(self.begun, None, False, "PostgreSQL was not asked for")
        self.operation = self.backup_id = ""
        self.manifest: Manifest | None = None
        self._parts: dict[str, StorePart] = {}
        self._digests: dict[str, Any] = {}
        self._left: list[LeftOut] = []
        self._degraded: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> "RunningTenantBackup":
        self.work = self._stack.enter_context(scratch(self.place.cache_directory / "work"))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # -- the steps

    def make_keys(self, run: StepRun) -> dict[str, Any]:
        """The backup has an id, and an identity that the key service can open again."""
        self.operation = run.operation
        begun = begin(
            self.place,
            self.ready.signing_key,
            self.begun,
            rate_limit=self.asked.rate_limit,
            check=run.safe_point,
        )
        self.backup_id, self.volumes = begun.backup, begun.volumes
        return {"backup": self.backup_id, "recipients": len(begun.recipients)}

    def capture_points(self, run: StepRun) -> dict[str, Any]:
        """Every point with its vectors, by scroll."""
        since = self.ctx.clock()
        found, records, selections = tenant_points.capture(
            self.place,
            self.whereabouts,
            self.volumes,
            run.safe_point,
            lambda done, total: self.ctx.out.progress("Qdrant", done, total, "collections"),
        )
        facts = {"collections": [one.as_document() for one in found]}
        self._part(POINTS, "tenant-points", since, records, facts)
        self._digests[POINTS] = {
            "count": sum(one.points for one in found),
            "collections": {o.name: {"points": o.points, "digest": o.digest} for o in found},
        }
        self._doubt(
            [f"the collection {name}" for name in selections.doubtful],
            "its name may mean this tenant or another",
        )
        for one in points_elsewhere(self.place, self.whereabouts.tenant.id):
            self._doubt([one.what], one.why)
        for name in selections.unclassified:
            self._unknown(f"the collection {name}", "points", self.whereabouts.mentioned(name))
        return {"points": self._digests[POINTS]["count"]}

    def capture_keys(self, run: StepRun) -> dict[str, Any]:
        """Every key with the moment at which it expires."""
        since = self.ctx.clock()
        found = tenant_keys.capture(
            self.place,
            self.whereabouts,
            self.volumes,
            self.work,
            lambda: self.ctx.stop.requested,
        )
        run.safe_point()
        self._part(KEYS, "tenant-keys", since, found.volumes, {"shared": found.shared})
        self._digests[KEYS] = {
            "count": found.keys,
            "shared": found.shared,
            "digests": found.digests,
        }
        self._unclassified(found.unclassified, "keys")
        self._doubt(found.doubtful, "nobody can tell whose they are")
        return {"keys": found.keys}

    def capture_objects(self, run: StepRun) -> dict[str, Any]:
        """Every object of the buckets that the profile names."""
        since = self.ctx.clock()
        found = tenant_objects.capture(
            self.place, self.whereabouts, self.volumes, self.work, run.safe_point
        )
        self._part(OBJECTS, "tenant-objects", since, found.volumes, {})
        self._digests[OBJECTS] = {
            "count": found.count,
            "bytes": found.bytes,
            "digest": found.digest,
        }
        self._unclassified(found.unclassified, "objects")
        return {"objects": found.count}

    def capture_rows(self, run: StepRun) -> dict[str, Any]:
        """Every row as one snapshot sees it: the recovery point."""
        from aeterna_cli.stores.postgres_snapshot import exact_snapshot

        map_ = self.whereabouts.map
        tables = map_.of_tenants
        require_readable(map_, tables)
        with exact_snapshot(self.place.profile.postgres) as snapshot:
            since = self.ctx.clock()
            self.moment = Moment(since, snapshot.lsn, snapshot.exact, snapshot.reason)
            archived, records = tenant_rows.capture(
                snapshot,
                tables,
                self.whereabouts.tenant,
                self.volumes,
                lambda done: self.ctx.out.progress("PostgreSQL", done, len(tables), "tables"),
            )
        run.safe_point()
        facts = {
            "database": map_.database,
            "exact": self.moment.exact,
            "tables": [one.as_document() for one in archived],
        }
        self._part(ROWS, "tenant-rows", since, records, facts)
        self._digests[ROWS] = {
            "count": sum(one.rows for one in archived),
            "exact": self.moment.exact,
        }
        names = [f"the table {one.label}" for one in map_.unclassified]
        self._doubt(names, "no rule tells whose rows it holds")
        return {"rows": self._digests[ROWS]["count"]}

    def commit(self, _run: StepRun) -> dict[str, Any]:
        """The backup exists when this returns."""
        self.manifest = self._manifest()
        commit(self.place.repository, self.manifest, self.ready.signing_key)
        return {"backup": self.backup_id}

    # -- the manifest

    def _part(
        self, name: str, kind: str, since: datetime, volumes: Any, facts: dict[str, Any]
    ) -> None:
        store = STORE_OF[name]
        self._parts[name] = StorePart(
            kind=kind,
            server_version=self.ready.versions.get(store, ""),
            identity=self.ready.identities.get(store) or "",
            window=Window(start=since, end=self.ctx.clock()),
            volumes=tuple(volumes),
            facts=facts,
        )

    def _doubt(self, what: Any, why: str) -> None:
        """What may be the tenant's and is not in the backup: said twice, and exit 9."""
        for one in what:
            self._left.append(LeftOut(what=one, why=why))
            self._degraded.append(f"{one}: {why}")

    def _unknown(self, what: str, things: str, mentioned: bool) -> None:
        """What no rule knows is always said; it is a doubt where its name says this tenant's."""
        if mentioned:
            self._doubt(
                [what], f"no rule tells whose {things} these are, and its name says this one"
            )
        else:
            self._left.append(LeftOut(what=what, why=f"no rule tells whose {things} these are"))

    def _unclassified(self, found: Unclassified, things: str) -> None:
        if found.named:
            self._unknown(f"{found.named} {things} with this tenant's name", things, True)
        if found.count > found.named:
            self._unknown(f"{found.count - found.named} {things}", things, False)

    def _manifest(self) -> Manifest:
        tenant, info = self.whereabouts.tenant, self.place.repository.info
        asked = [LeftOut(what=one, why="not asked for in this backup") for one in self._not_asked()]
        never = (
            NEVER_CAPTURED if self.place.profile.object_stores else (*NEVER_CAPTURED, _NO_BUCKETS)
        )
        return Manifest(
            schema="aeterna.manifest/1",
            backup=self.backup_id,
            repository=info.uuid,
            deployment=info.deployment,
            created=self.begun,
            tool_version=__version__,
            profile=self.place.name,
            actor=actor(),
            operation=self.operation,
            scope=Scope(tenant=tenant.id, slug=tenant.slug, name=tenant.name),
            label=dict(self.asked.labels),
            note=self.asked.note,
            stores={name: self._parts[name] for name in STORE_OF if name in self._parts},
            recovery_point=RecoveryPoint(time=self.moment.time, lsn=position_text(self.moment.lsn)),
            digests=self._digests,
            left_out=(*asked, *self._left, *never),
            degraded=tuple(self._degraded),
        )

    def _not_asked(self) -> list[str]:
        return [store for store in STORE_OF.values() if store not in self.asked.stores]
