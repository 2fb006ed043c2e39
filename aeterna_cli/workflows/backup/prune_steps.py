"""What a prune does, in an order that leaves no torn backup wherever it dies.

The catalogue says ``pruned`` first, so nobody lists the backup; then its manifest goes, so nobody
who reads the folders by hand takes it for one; then the wrapped keys, so that what is left cannot
be opened; then everything else.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

from aeterna_cli.context import Context, actor
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.repository import catalogue, inventory, layout
from aeterna_cli.workflows.backup.prune_choice import wal_now

_BATCH = 1000  # objects between two safe points
_STALE = timedelta(hours=24)


class PruneSteps:
    """``going`` are committed backups, ``unfinished`` folders that never became one."""

    def __init__(self, ctx: Context, going: Sequence[str], unfinished: Sequence[str]) -> None:
        self._ctx = ctx
        self._going = going
        self._unfinished = unfinished

    def record(self, run: StepRun) -> dict[str, Any]:
        """The catalogue says of each that it is pruned; said once, however often this runs."""
        repository = self._ctx.deployment.repository
        inventory.repair(repository)  # what it does not know it could not call pruned
        said = {entry.backup for entry in inventory.pruned(repository)}
        for backup in self._going:
            if backup in said:
                continue
            run.safe_point()
            catalogue.append(
                repository.store,
                "pruned",
                backup,
                time=self._ctx.clock(),
                actor=actor(),
                reason=self._ctx.reason,
            )
        return {"deleted": 0}

    def delete_backups(self, run: StepRun) -> dict[str, Any]:
        """These, and whatever an earlier prune had to leave."""
        repository = self._ctx.deployment.repository
        gone = {entry.backup for entry in inventory.pruned(repository)}
        left = [one for one in inventory.leftovers(repository) if one in gone]
        return {"deleted": sum(self._folder(run, backup) for backup in left)}

    def delete_unfinished(self, run: StepRun) -> dict[str, Any]:
        """``RefusedError('backup_committed')`` where one has become a backup after all."""
        deleted = 0
        for backup in self._unfinished:
            if self._committed(backup):
                raise RefusedError(
                    "backup_committed",
                    f"{backup} was taken for unfinished, and has a manifest now",
                    hint="a backup runs without its lease; nothing of it was deleted",
                    next_steps=["aeterna-cli operation list --unfinished"],
                )
            deleted += self._folder(run, backup)
        return {"deleted": deleted}

    def delete_wal(self, run: StepRun) -> dict[str, Any]:
        """Judged again by what is kept now: the repository itself says how far this came."""
        keys, _days = wal_now(self._ctx.deployment.repository)
        return {"deleted": self._delete(run, keys)}

    def delete_wal_keys(self, run: StepRun) -> dict[str, Any]:
        """After the WAL that they open, never before."""
        _keys, days = wal_now(self._ctx.deployment.repository)
        store = self._ctx.deployment.objects
        keys = [
            found.key
            for day in days
            for found in store.list(f"{layout.WAL_KEYS}/{day.isoformat()}/")
        ]
        return {"deleted": self._delete(run, keys)}

    def drop_stale_uploads(self, _run: StepRun) -> dict[str, Any]:
        return {"deleted": self._ctx.deployment.objects.abort_stale_uploads(_STALE)}

    def _committed(self, backup: str) -> bool:
        store = self._ctx.deployment.objects
        return any(True for _ in store.list(layout.manifest_key(backup)))

    def _folder(self, run: StepRun, backup: str) -> int:
        folder = f"{layout.backup_folder(backup)}/"
        self._ctx.out.note(f"deleting {folder}")
        store = self._ctx.deployment.objects
        keys = [found.key for found in store.list(folder)]
        first = [layout.manifest_key(backup), layout.signature_key(backup)]
        slots = [key for key in keys if key.startswith(f"{folder}slots/")]
        rest = [key for key in keys if key not in {*first, *slots}]
        present = [key for key in first if key in keys]
        return sum(self._delete(run, some) for some in (present, slots, rest))

    def _delete(self, run: StepRun, keys: Iterable[str]) -> int:
        store, deleted = self._ctx.deployment.objects, 0
        for batch in _batches(keys):
            run.safe_point()
            deleted += store.delete(batch)
        return deleted


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
