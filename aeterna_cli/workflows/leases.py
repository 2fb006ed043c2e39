"""What operations must not do at the same time: one table of lease names.

A backup holds ``backups`` alone and ``restore`` shared; a restore holds ``restore`` alone; prune
holds ``backups`` alone; the WAL receiver holds ``wal-receiver`` alone and runs beside all of them.
"""

BACKUPS = "backups"
RESTORE = "restore"
WAL_RECEIVER = "wal-receiver"
