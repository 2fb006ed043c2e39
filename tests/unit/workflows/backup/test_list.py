"""``backup list`` needs no server: order, states, an empty repository, ages in words."""

import pytest

from aeterna_cli.repository import catalogue
from aeterna_cli.repository.manifest import Scope
from aeterna_cli.workflows.backup.list import human_age
from tests.unit.workflows.backup.offline import Archive, archive

__all__ = ["archive"]

FIRST, SECOND, THIRD, FOURTH = (f"2026112{day}T030000Z-0a1b2c" for day in range(1, 5))


def states(archive: Archive, *words: str) -> list[tuple[str, str]]:
    return [(one["backup"], one["state"]) for one in archive.cli.ok("backup", "list", *words).data]


def test_oldest_first_whoever_was_committed_first(archive: Archive) -> None:
    archive.backup(SECOND, degraded=("redis was read key by key",))
    archive.backup(FIRST)
    archive.backup(THIRD, listed=False)
    good = [(FIRST, "ok"), (SECOND, "degraded"), (THIRD, "not_catalogued")]
    assert states(archive) == good
    names = (archive.place.cache_directory / "backups").read_text().splitlines()
    assert names == [THIRD, SECOND, FIRST]
    archive.path(FOURTH, "redis").mkdir(parents=True)
    archive.path(FOURTH, "redis/dump.rdb.zst.age.00000").write_bytes(b"half")
    assert states(archive) == good
    assert states(archive, "--all") == [*good, (FOURTH, "unfinished")]


def test_what_is_pruned_is_only_told_when_asked(archive: Archive) -> None:
    archive.backup(FIRST)
    archive.backup(SECOND)
    catalogue.append(archive.repository.store, "pruned", FIRST, time=archive.repository.store.now())
    assert states(archive) == [(SECOND, "ok")]
    assert states(archive, "--all") == [(FIRST, "pruned"), (SECOND, "ok")]
    archive.path(FIRST, "manifest.json").unlink()  # halfway
    assert states(archive) == [(SECOND, "ok")]
    assert states(archive, "--all") == [(FIRST, "pruned"), (SECOND, "ok")]


def test_a_backup_that_lost_its_manifest_is_not_left_out(archive: Archive) -> None:
    archive.backup(FIRST)
    archive.path(FIRST, "manifest.json").unlink()
    for words in ((), ("--all",)):
        assert states(archive, *words) == [(FIRST, "damaged")]
    (one,) = archive.cli.ok("backup", "list").data
    assert one["fault"] == "its manifest is missing from the repository"
    assert (archive.place.cache_directory / "backups").read_text() == ""


def test_whose_data_a_backup_holds_is_shown(archive: Archive) -> None:
    scope = Scope(tenant="0b4b6f5e-0000-4000-8000-000000000001", slug="a'%*", name="Über")
    archive.backup(FIRST)
    archive.backup(SECOND, scope=scope)
    assert [one["scope"] for one in archive.cli.ok("backup", "list").data] == [
        None,
        {"kind": "tenant", "tenant": scope.tenant, "slug": "a'%*", "name": "Über"},
    ]
    for word in (scope.tenant, scope.slug, scope.name):
        assert [
            one["backup"] for one in archive.cli.ok("backup", "list", "--tenant-id", word).data
        ] == [SECOND]
    assert archive.cli.ok("backup", "list", "--tenant-id", "a").data == []
    shown = archive.cli.ok("backup", "show", SECOND).data
    assert shown["scope"]["slug"] == scope.slug
    assert archive.cli.ok("backup", "show", "latest").data["backup"] == FIRST


@pytest.mark.parametrize("words", [("plan",), ("verify",), ("run", "--confirm", "archive")])
def test_no_deployment_is_restored_from_a_tenants_backup(
    archive: Archive, words: tuple[str, ...]
) -> None:
    scope = Scope(tenant="0b4b6f5e-0000-4000-8000-000000000001", slug="acme", name="Acme")
    archive.backup(FIRST, scope=scope)
    ran = archive.cli("restore", *words, "--backup", FIRST)
    assert (ran.code, ran.error["code"]) == (7, "backup_of_a_tenant")
    assert scope.tenant in ran.error["next_steps"][0]


def test_an_empty_repository(archive: Archive) -> None:
    ran = archive.cli.ok("backup", "list", "-o", "table")
    assert ran.out == f"no backups in {archive.folder}\n"
    assert archive.cli.ok("backup", "list", "-o", "json").data == []


def test_csv(archive: Archive) -> None:
    archive.backup(FIRST, note="one, two")
    header, row = archive.cli.ok("backup", "list", "-o", "csv").out.splitlines()
    assert header == "backup,scope,recovery point,age,size,stores,label,note,state"
    assert row.startswith(f"{FIRST},deployment,2026-11-21T03:01:00+00:00,")
    assert row.endswith(',"one, two",ok')


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 00 min"),
        (47 * 3600 + 59, "47 h 00 min"),
        (48 * 3600, "2 d 0 h"),
        (76 * 3600, "3 d 4 h"),
    ],
)
def test_an_age_in_words(seconds: int, text: str) -> None:
    assert human_age(seconds) == text
