"""``restore verify``: the servers as they are now against a backup's manifest."""

from pathlib import Path

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import FindingsError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.repository.manifest import Manifest
from aeterna_cli.workflows.restore import comparison
from aeterna_cli.workflows.restore.comparison import Compared
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.scratch import scratch
from aeterna_cli.workflows.sorting import sorted_lines


def run(ctx: Context, backup: str, into: str | None, identity: str | None) -> Result:
    """Reads only. Exit 8 where anything differs; who writes meanwhile will see a difference."""
    identity_file = Path(identity).expanduser() if identity else None
    place = ctx.deployment_of(into) if into else ctx.deployment
    opened, found = compare_all(ctx, place, backup, identity_file)
    data = {"backup": opened.id, "compared": [one.as_document() for one in found]}
    result = Result("aeterna.restore.verify/1", data, lambda: _view(opened.id, found))
    if any(one.drift for one in found):
        ctx.out.result(result)
        raise FindingsError(
            "restore_drift",
            "not everything is what the manifest says",
            hint="each finding above names what differs; who writes meanwhile sees a difference",
        )
    return result


def compare_all(
    ctx: Context, place: Deployment, backup: str, identity_file: Path | None
) -> tuple[OpenedBackup, list[Compared]]:
    """Every store of ``place`` that the backup holds, compared with its manifest."""
    opened = OpenedBackup.open(ctx.deployment, backup, identity_file)
    manifest = opened.manifest
    found: list[Compared] = []
    with scratch(place.cache_directory / "work") as work:
        if "postgres" in manifest.stores:
            found += _postgres(place, manifest, work)
        if "qdrant" in manifest.stores:
            found.append(comparison.qdrant(manifest, place.qdrant))
        if "redis" in manifest.stores:
            found.append(comparison.redis(manifest, place.redis, ctx.clock()))
    return opened, found


def _postgres(place: Deployment, manifest: Manifest, work: Path) -> list[Compared]:
    from aeterna_cli.stores.postgres_snapshot import current_snapshot

    with current_snapshot(place.profile.postgres) as snapshot:
        found = [comparison.postgres(manifest, snapshot.digests(), moved=False)]
        rules = manifest.orphans.get("rules", [])
        if "qdrant" not in manifest.stores or not rules:
            return found
        paths: dict[str, Path] = {}
        for rule in rules:
            path = work / rule["volume"]
            ids = snapshot.ids(rule["rule"]["table"], rule["rule"]["id_column"])
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{one}\n" for one in sorted_lines(ids, work))
            paths[rule["volume"]] = path
    found.append(comparison.orphans(manifest, paths, place.qdrant, work, moved=False))
    return found


def _view(backup: str, found: list[Compared]) -> Table:
    rows = []
    for one in found:
        lines = [f"{f.severity}: {f.subject}: {f.message}" for f in one.findings]
        state = "DRIFT" if one.drift else "equal"
        rows.append([one.store, f"{one.count:,} {one.items}", state, "\n".join(lines)])
    return Table(["store", "compared", "result", "findings"], rows, title=f"backup {backup}")
