"""Names: what can be made can be read again, and nothing else is accepted."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import UsageError
from aeterna_cli.repository import layout
from aeterna_cli.stores.directory_store import check_key
from tests.unit.repository.given import BACKUP, PREFIX

moments = st.integers(0, 200_000_000_000).map(
    lambda second: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second, microseconds=7)
)


@given(moments)
def test_a_backup_id_says_when_it_began(moment: datetime) -> None:
    name = layout.new_backup_id(moment)
    assert layout.parse_backup_id(name) == moment.replace(microsecond=0)
    check_key(layout.manifest_key(name))


def test_an_id_is_in_utc_and_differs_every_time() -> None:
    moment = datetime(2026, 11, 23, 4, tzinfo=timezone(timedelta(hours=1)))
    one, other = layout.new_backup_id(moment), layout.new_backup_id(moment)
    assert one.startswith("20261123T030000Z-")
    assert one != other


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        f"{BACKUP}\n",
        BACKUP.upper(),
        "20261323T030000Z-0a1b2c",
        "20261123T030000Z-0a1b2",
        "../" + BACKUP,
        BACKUP + "/..",
    ],
)
def test_anything_else_is_no_id(text: str) -> None:
    assert not layout.is_backup_id(text)
    with pytest.raises(UsageError) as refused:
        layout.manifest_key(text)
    assert refused.value.code == "backup_id_invalid"


def test_every_name_is_an_object_key() -> None:
    assert layout.manifest_key(BACKUP) == f"backups/{BACKUP}/manifest.json"
    assert layout.signature_key(BACKUP) == f"backups/{BACKUP}/manifest.sig"
    assert layout.catalogue_key(7) == "catalogue/000000000007.json"
    assert layout.wal_folder("7591234567890123456") == "wal/7591234567890123456"
    assert layout.operation_key("0193", 2) == "operations/0193/000002.json"
    assert layout.lease_key("backup") == "leases/backup.json"


def test_parts_are_in_order_as_text() -> None:
    names = [layout.part_key(PREFIX, number) for number in (0, 9, 10, 999, 1000, 99999)]
    assert names == sorted(names)
    assert names[0].endswith("/postgres/base.tar.zst.age.00000")
    assert layout.split_part_key(names[4]) == (PREFIX, 1000)


@pytest.mark.parametrize(
    "key",
    [
        PREFIX,
        f"{PREFIX}.zst.age.1",
        f"{PREFIX}.zst.age.00000\n",
        "a/../b.zst.age.00000",
        "/b.zst.age.00000",
        "a//b.zst.age.00000",
    ],
)
def test_what_is_no_part_is_not_taken_for_one(key: str) -> None:
    assert layout.split_part_key(key) is None


@pytest.mark.parametrize(("store", "name"), [("..", "a"), ("a", "b/c"), ("a", ""), ("a", ".b")])
def test_a_volume_cannot_be_named_out_of_its_folder(store: str, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        layout.volume_prefix(BACKUP, store, name)


@pytest.mark.parametrize("text", ["", "12a", "../1", "²"])
def test_a_system_identifier_is_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="system identifier"):
        layout.wal_folder(text)


@pytest.mark.parametrize("key", ["catalogue/1.json", "catalogue/000000000001.json.tmp", "x"])
def test_what_is_no_catalogue_record_is_ignored(key: str) -> None:
    assert layout.catalogue_sequence(key) is None
    assert layout.catalogue_sequence("catalogue/000000000012.json") == 12
