"""The steps of a tenant's restore. Each may be repeated: what is there already is left alone.

Order: every store is looked at, and whatever is in the way refused, before anything is written.
Then rows, in one transaction; then points, keys and objects, which have none. A crash between two
stores is seen in the journal, and the same command (or ``operation resume``) goes on.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.datamap.privileges import require_collections_classified
from aeterna_cli.errors import RemoteError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.restore.tenant_keys import KeysChange, TenantKeys
from aeterna_cli.workflows.restore.tenant_objects import ObjectsChange, TenantObjects
from aeterna_cli.workflows.restore.tenant_open import OpenedTenant
from aeterna_cli.workflows.restore.tenant_points import PointsChange, TenantPoints, refuse_taken
from aeterna_cli.workflows.restore.tenant_rows import refuse_moving, staged
from aeterna_cli.workflows.tenant.archive import KEYS, OBJECTS, POINTS, ROWS


@dataclass(frozen=True)
class Looked:
    """What a restore would do now, part by part; ``rows`` are changes of tables."""

    rows: tuple[Mapping[str, Any], ...]
    points: tuple[PointsChange, ...]
    keys: KeysChange | None
    objects: ObjectsChange | None
    conflicts: int
    conflicting: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]


class TenantSteps:
    """What ``restore run --tenant-id`` does, step by step."""

    def __init__(self, ctx: Context, opened: OpenedTenant) -> None:
        self._ctx = ctx
        self._place = ctx.deployment
        self.opened = opened
        self._mode = opened.choice.mode

    # -- looking

    def look(self) -> Looked:
        """Everything that would be done; nothing is written but temporary tables of a session."""
        parts, notes = self.opened.parts, list(self.opened.notes)
        refuse_moving(self._place, self.opened.tenant)
        self._require_classified()
        rows: tuple[Mapping[str, Any], ...] = ()
        conflicts = 0
        conflicting: tuple[Mapping[str, Any], ...] = ()
        if ROWS in parts:
            with staged(self._place, self.opened.source, self.opened.tenant, self._stop) as (
                session,
                unknown,
            ):
                preview = session.preview(self._mode)
            rows = tuple(asdict(one) for one in preview.changes)
            conflicts = preview.conflicts
            conflicting = tuple(asdict(one) for one in preview.conflicting)
            notes += [f"not in the backup, left as it is: the table {one}" for one in unknown]
        points = tuple(self._points().look(self._mode)) if POINTS in parts else ()
        return Looked(
            rows=rows,
            points=points,
            keys=self._keys().look(self._mode) if KEYS in parts else None,
            objects=self._objects().look(self._mode) if OBJECTS in parts else None,
            conflicts=conflicts + sum(one.conflicts for one in points),
            conflicting=conflicting,
            notes=tuple(notes),
        )

    # -- the steps

    def check(self, run: StepRun) -> dict[str, Any]:
        """Every stored object of the backup is whole, and nothing in any store is in the way."""
        from aeterna_cli.repository.opening import verify_parts

        manifest = self.opened.opened.manifest
        volumes = 0
        for part in self.opened.parts:
            if part not in manifest.stores:
                continue  # out of a whole backup: every volume was opened to its end
            for record in manifest.stores[part].volumes:
                run.safe_point()
                volumes += 1
                for one in verify_parts(self._place.objects, record):
                    raise RemoteError(
                        one.code,
                        one.message,
                        hint=one.mend,
                        next_steps=["aeterna-cli backup list  # choose another backup"],
                        details=dict(one.details),
                    )
        refuse_moving(self._place, self.opened.tenant)
        self._require_classified()
        if POINTS in self.opened.parts:
            refuse_taken(self._points().look(self._mode))
        return {"volumes": volumes}

    def restore_rows(self, run: StepRun) -> dict[str, Any]:
        """All rows or none, in one transaction; nobody else's row was changed."""
        with staged(self._place, self.opened.source, self.opened.tenant, run.safe_point) as (
            session,
            _unknown,
        ):
            done = session.apply(self._mode, run.safe_point)
        run.checkpoint({"committed": True})
        return {**asdict(done), "changes": [asdict(one) for one in done.changes]}

    def restore_points(self, run: StepRun) -> dict[str, Any]:
        """Every collection has the tenant's points; finished ones are not repeated."""
        done = list(run.last_checkpoint or [])

        def finished(name: str) -> None:
            done.append(name)
            run.checkpoint(list(done))

        changes = self._points().apply(self._mode, tuple(done), finished)
        return {"changes": [asdict(one) for one in changes if one.archived or one.live]}

    def restore_keys(self, _run: StepRun) -> dict[str, Any]:
        """Every key that has not expired is there."""
        return asdict(self._keys().apply(self._mode))

    def restore_objects(self, _run: StepRun) -> dict[str, Any]:
        """Every object is there."""
        return asdict(self._objects().apply(self._mode))

    def compare(self, run: StepRun) -> dict[str, Any]:
        """What is there now against what was saved. The rows were compared in their transaction."""
        found: list[Finding] = []
        if POINTS in self.opened.parts:
            found += self._points().compare(self._mode)
            found += self._others(run.results["points"]["changes"])
        if KEYS in self.opened.parts:
            found += self._keys().compare(self._mode, self._ctx.clock())
        if OBJECTS in self.opened.parts:
            found += self._objects().compare(self._mode)
        return {"findings": [asdict(one) for one in found]}

    def _others(self, changes: list[Mapping[str, Any]]) -> list[Finding]:
        """Everybody else's points are as many as before; who writes meanwhile is only told."""
        before = {one["collection"]: one["others"] for one in changes if one["archived"]}
        found = []
        for one in self._points().look(self._mode):
            if one.collection in before and before[one.collection] != one.others:
                message = (
                    f"others had {before[one.collection]} points when it began and have"
                    f" {one.others} now: somebody writes there, or look closer"
                )
                name = f"qdrant: {one.collection}"
                found.append(Finding("others_counted_differently", "info", name, message))
        return found

    def _require_classified(self) -> None:
        """What is surplus is deleted (mode replace): no collection may hide some of it."""
        if self._mode == "replace" and POINTS in self.opened.parts:
            described = self._place.qdrant_tenants().outlines()
            require_collections_classified(self.opened.whereabouts.mapped(described))

    # -- parts

    def _points(self) -> TenantPoints:
        opened = self.opened
        return TenantPoints(self._place, opened.source, opened.whereabouts, opened.work, self._stop)

    def _keys(self) -> TenantKeys:
        opened = self.opened
        return TenantKeys(
            self._place,
            opened.source,
            opened.whereabouts,
            opened.work,
            lambda: self._ctx.stop.requested,
        )

    def _objects(self) -> TenantObjects:
        opened = self.opened
        return TenantObjects(self._place, opened.source, opened.whereabouts, self._stop)

    def _stop(self) -> None:
        self._ctx.stop.check()
