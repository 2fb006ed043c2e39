"""A tenant's rows into volumes: one moment, several tables at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from aeterna_cli.datamap.model import MappedTable
from aeterna_cli.repository.volume import VolumeRecord
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.tenant.rows import ArchivedTable, row_slice, stored_columns

if TYPE_CHECKING:
    from aeterna_cli.stores.postgres_snapshot import Snapshot
    from aeterna_cli.workflows.backup.volumes import Volumes

PART = "rows"
WORKERS = 4  # tables at once: each has a connection, a compressor and a process that encrypts


def capture(
    snapshot: "Snapshot",
    tables: Sequence[MappedTable],
    tenant: TenantIdentity,
    volumes: "Volumes",
    on_table: Callable[[int], None],
) -> tuple[tuple[ArchivedTable, ...], tuple[VolumeRecord, ...]]:
    """Every table's rows as ``snapshot`` sees them, the largest tables first.

    The results are in the order of ``tables``. The first error ends all of them.
    """
    ordered = sorted(enumerate(tables), key=lambda pair: -(pair[1].table.estimated_rows or 0))

    def one(number: int, table: MappedTable) -> tuple[int, ArchivedTable, VolumeRecord]:
        return number, *_copied(snapshot, table, tenant, volumes, f"{number:04d}.copy")

    with ThreadPoolExecutor(WORKERS, "rows") as pool:
        running = [pool.submit(one, number, table) for number, table in ordered]
        found = []
        try:
            for done, future in enumerate(running, start=1):
                found.append(future.result())
                on_table(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    found.sort(key=lambda each: each[0])
    return tuple(each[1] for each in found), tuple(each[2] for each in found)


def _copied(
    snapshot: "Snapshot",
    table: MappedTable,
    tenant: TenantIdentity,
    volumes: "Volumes",
    name: str,
) -> tuple[ArchivedTable, VolumeRecord]:
    from aeterna_cli.stores.postgres_copy import copy_out

    with snapshot.reading() as connection, volumes.open(PART, name) as writer:
        rows = row_slice(connection, table, tenant)
        copied = copy_out(connection, rows, writer.write)
        record = writer.commit()
    archived = ArchivedTable(
        label=table.label,
        schema=table.schema,
        name=table.name,
        columns=stored_columns(table),
        shared=table.shared,
        volume=name,
        rows=copied.rows,
        digest=copied.digest,
        lines=copied.lines,
    )
    return archived, record
