"""``backup show`` needs no server and no key: the manifest is signed, not sealed."""

from tests.unit.workflows.backup.offline import Archive, archive

__all__ = ["archive"]

BACKUP = "20261121T030000Z-0a1b2c"


def test_a_small_backup_in_words(archive: Archive) -> None:
    archive.backup(BACKUP, note="before the upgrade", degraded=("redis was read key by key",))
    lines = archive.cli.ok("backup", "show", "-o", "table").out.splitlines()
    size = archive.path(BACKUP, "redis/dump.rdb.zst.age.00000").stat().st_size
    assert lines == [
        f"backup {BACKUP} (signature verified)",
        "  recovery point 2026-11-21T03:01:00.000+00:00",
        "  taken          2026-11-21T03:00:00+00:00 by ada@host from profile archive"
        " with aeterna-cli 0.1.0",
        f"  stored         {size} B (19.5 KiB unpacked)",
        "  holds          nothing that was counted",
        "  note           before the upgrade",
        "  degraded       redis was read key by key",
        "  redis: redis-rdb valkey 9.1.2, identity somebody",
        "    from 2026-11-21T03:00:00.000+00:00 to 2026-11-21T03:01:00.000+00:00",
        "    at most 60000 ms before the recovery point",
        f"    dump.rdb: {size} B (19.5 KiB unpacked), 1 part",
        lines[-2],
        f"  next: aeterna-cli restore plan --backup {BACKUP}",
    ]
    assert lines[-2].startswith("  key slot 0     local-file ")


def test_the_newest_good_one_is_the_latest(archive: Archive) -> None:
    archive.backup(BACKUP)
    later = "20261122T030000Z-0a1b2c"
    archive.backup(later, listed=False)
    assert archive.cli.ok("backup", "show").data["backup"] == later
    archive.path(later, "manifest.sig").write_bytes(bytes(64))
    assert archive.cli.ok("backup", "show").data["backup"] == BACKUP
    ran = archive.cli("backup", "show", later)
    assert (ran.code, ran.error["code"], ran.out) == (5, "signature_invalid", "")
