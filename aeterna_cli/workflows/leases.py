"""What operations must not do at the same time: one table of lease names.

A backup holds ``backups`` alone and ``restore`` shared; a restore holds ``restore`` alone; prune
holds ``backups`` alone; the WAL receiver holds ``wal-receiver`` alone and runs beside all of them.
A change of the shard registry holds ``shards`` alone and ``restore`` shared: it runs beside
backups, and not while PostgreSQL and Qdrant are being put back to another time.
A tenant's backup holds ``tenant-<uuid>`` and ``restore`` shared, so it runs beside the nightly one;
a tenant's restore holds ``tenant-<uuid>`` alone, ``restore`` and ``backups`` shared; a step of a
tenant's move holds ``tenant-<uuid>`` alone and ``restore`` shared. Between the steps of a move its
row in ``aeterna_ops.tenant_move`` says that it is not over.
A failover holds ``failover`` alone and ``restore`` shared: it never waits for a backup, which a
planned one refuses to cut off by itself.
A drill holds ``drill`` alone: it runs beside backups and restores, which it may be about, and
beside no other drill.
"""

BACKUPS = "backups"
RESTORE = "restore"
WAL_RECEIVER = "wal-receiver"
SHARDS = "shards"
FAILOVER = "failover"
DRILL = "drill"


def tenant(identifier: str) -> str:
    """The lease of everything that is about one tenant; ``identifier`` is its uuid as text."""
    return f"tenant-{identifier}"
