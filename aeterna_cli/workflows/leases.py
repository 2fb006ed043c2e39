"""What operations must not do at the same time: one table of lease names.

A backup holds ``backups`` alone and ``restore`` shared; a restore holds ``restore`` alone; prune
holds ``backups`` alone; the WAL receiver holds ``wal-receiver`` alone and runs beside all of them.
A change of the shard registry holds ``shards`` alone and ``restore`` shared: it runs beside
backups, and not while PostgreSQL and Qdrant are being put back to another time.
"""

BACKUPS = "backups"
RESTORE = "restore"
WAL_RECEIVER = "wal-receiver"
SHARDS = "shards"


def tenant_lease(tenant: str) -> str:
    """One operation per tenant: move, forget, export and rotate hold it alone, and ``restore``
    shared."""
    return f"tenant-{tenant}"
