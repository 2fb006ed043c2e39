"""``backup list``: what can be restored, by the catalogue and the manifests that are there."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes
from aeterna_cli.repository import catalogue, inventory, layout
from aeterna_cli.repository.catalogue import CatalogueEntry
from aeterna_cli.repository.manifest import TENANT_PARTS
from aeterna_cli.repository.repository import Repository
from aeterna_cli.stores.base.server_control import STORES
from aeterna_cli.workflows.completion_names import remember

State = Literal["ok", "degraded", "not_catalogued", "damaged", "pruned", "unfinished"]
#: States of backups that a restore accepts.
GOOD: frozenset[State] = frozenset({"ok", "degraded", "not_catalogued"})
_LOST = "its manifest is missing from the repository"
_UNREADABLE = "its record in the catalogue cannot be read; backup show reads its manifest"


@dataclass(frozen=True)
class Listed:
    """One folder of the repository. ``recovery_point`` is None where nobody can know it;
    ``age_seconds`` is on the repository's clock; ``fault`` says what is wrong with a damaged one.
    """

    backup: str
    state: State
    recovery_point: datetime | None
    age_seconds: int
    stored_bytes: int
    stores: tuple[str, ...]
    label: Mapping[str, str]
    note: str
    held: bool
    fault: str = ""
    scope: "ListedScope | None" = None


@dataclass(frozen=True)
class ListedScope:
    """Whose data alone a backup holds; a backup without one holds the whole deployment."""

    kind: str
    tenant: str
    slug: str
    name: str

    def is_named(self, word: str) -> bool:
        return word in (self.tenant, self.slug, self.name)


def run(ctx: Context, every: bool, tenant: str | None = None) -> Result:
    """Oldest first. Without ``every`` only what was committed and not pruned; with ``tenant`` (an
    id, slug or name, as they were when it was taken) only this tenant's own backups.

    Backups whose manifest is unacceptable or gone are shown as damaged, never left out. The names
    of the good ones are kept for the shells' completion.
    """
    repository = ctx.deployment.repository
    now = repository.store.now()
    committed = repository.backups()
    found = [_committed(entry, now) for entry in [*committed, *_lost(repository, committed)]]
    if every:
        found += [_listed(entry, "pruned", now) for entry in inventory.pruned(repository)]
        known = {one.backup for one in found}
        found += [
            _listed(CatalogueEntry(backup, layout.parse_backup_id(backup)), "unfinished", now)
            for backup in inventory.leftovers(repository)
            if backup not in known
        ]
    found.sort(key=lambda one: one.backup)
    remember(ctx, "backups", [one.backup for one in reversed(found) if one.state in GOOD])
    if tenant is not None:
        found = [one for one in found if one.scope is not None and one.scope.is_named(tenant)]
    return Result("aeterna.backup.list/1", found, lambda: _view(ctx, found))


def _lost(repository: Repository, committed: Sequence[CatalogueEntry]) -> list[CatalogueEntry]:
    """What the catalogue says was made and not pruned, and whose manifest nobody finds.

    Asked twice, so that one that is committed or pruned while we look is not called lost.
    """

    def unpruned(known: AbstractSet[str]) -> list[CatalogueEntry]:
        entries = catalogue.read(repository.store).entries()
        return [one for one in entries if not one.pruned and one.backup not in known]

    seen = {entry.backup for entry in committed}
    absent = {one.backup for one in unpruned(seen) if not manifest_there(repository, one.backup)}
    if not absent:
        return []
    return [replace(one, fault=_LOST) for one in unpruned(seen) if one.backup in absent]


def manifest_there(repository: Repository, backup: str) -> bool:
    """Whether the mark that a backup was committed lies in its folder."""
    try:
        repository.store.info(layout.manifest_key(backup))
    except RefusedError as error:
        if error.code != "object_missing":
            raise
        return False
    return True


def _committed(entry: CatalogueEntry, now: datetime) -> Listed:
    if entry.fault:
        return _listed(entry, "damaged", now)
    if not entry.catalogued:
        return _listed(entry, "not_catalogued", now)
    return _listed(entry, "degraded" if entry.summary.get("degraded") else "ok", now)


def _listed(entry: CatalogueEntry, state: State, now: datetime) -> Listed:
    summary: Mapping[str, Any] = entry.summary
    try:
        text = summary.get("recovery_point", {}).get("time")
        point = datetime.fromisoformat(text) if text else None
        age = max(0, round((now - (point or entry.created)).total_seconds()))
        label = {str(key): str(value) for key, value in summary.get("label", {}).items()}
        size = int(summary.get("stored_bytes", 0))
        known = (*STORES, *TENANT_PARTS)
        stores = tuple(name for name in known if name in summary.get("stores", ()))
        scope = _scope(summary.get("scope"))
    except (AttributeError, TypeError, ValueError):  # free JSON, and nobody signed it
        damaged = CatalogueEntry(entry.backup, entry.created, held=entry.held, fault=_UNREADABLE)
        return _listed(damaged, "damaged", now)
    note = str(summary.get("note", ""))
    held, fault = entry.held, entry.fault
    return Listed(entry.backup, state, point, age, size, stores, label, note, held, fault, scope)


def _scope(found: Mapping[str, Any] | None) -> ListedScope | None:
    if found is None:
        return None
    words = {name: str(found.get(name, "")) for name in ("kind", "tenant", "slug", "name")}
    return ListedScope(**words)


def _view(ctx: Context, found: Sequence[Listed]) -> Table | str:
    if not found:
        return f"no backups in {ctx.deployment.objects.description}"
    return Table(
        ["backup", "scope", "recovery point", "age", "size", "stores", "label", "note", "state"],
        [_row(one) for one in found],
        right=frozenset({"age", "size"}),
    )


def _row(one: Listed) -> list[str]:
    point = one.recovery_point.isoformat(timespec="seconds") if one.recovery_point else "unknown"
    state = one.state.replace("_", " ") + (", held" if one.held else "")
    return [
        one.backup,
        f"tenant {one.scope.slug}" if one.scope else "deployment",
        point,
        human_age(one.age_seconds),
        human_bytes(one.stored_bytes) if one.stores else "unknown",
        ", ".join(one.stores),
        ", ".join(f"{key}={value}" for key, value in sorted(one.label.items())),
        one.note,
        f"{state}: {one.fault}" if one.fault else state,
    ]


def human_age(seconds: int) -> str:
    """The two largest units: ``3 d 4 h``, ``2 h 05 min``, ``7 min``, ``12 s``."""
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60:02d} min"
    return f"{hours // 24} d {hours % 24} h"
