"""Every way in which the stored bytes of a volume can be wrong, and what it is called."""

import hashlib
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.keys.slots import create_identity
from aeterna_cli.repository import layout
from aeterna_cli.repository.opening import open_volume, verify_parts
from aeterna_cli.repository.pipeline import SealedWriter
from aeterna_cli.repository.volume import VolumeRecord
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.unit.repository.given import BACKUP, PREFIX, Person, flipped, sealed, swapped, tampered

OTHER = layout.volume_prefix(BACKUP, "postgres", "other.tar")
NOISE = random.Random(7).randbytes(300_000)  # noqa: S311 - the same in every run
LARGE = random.Random(8).randbytes(6 << 20)  # noqa: S311 - the same in every run


def opened(store: DirectoryStore, record: VolumeRecord, identity: str) -> bytes:
    with open_volume(store, record, identity) as stream:
        return stream.read()


def changed(record: VolumeRecord, **values: object) -> VolumeRecord:
    """The record as somebody else would have it, past all checks."""
    return record.model_copy(update=values)


DAMAGE: list[tuple[str, Callable[[bytes], bytes], int]] = [
    ("part_truncated", lambda data: data[:-1], 1),
    ("part_truncated", lambda data: b"", 0),
    ("part_damaged", lambda data: data + b"x", 0),
    ("part_damaged", lambda data: data + bytes(3 << 20), 2),
    ("part_damaged", flipped(0), 0),
    ("part_damaged", flipped(120), 0),
    ("part_damaged", flipped(1), 1),
    ("part_damaged", flipped(-1), 3),
]


@pytest.mark.parametrize(("code", "change", "number"), DAMAGE)
def test_a_changed_part_is_named(
    store: DirectoryStore,
    person: Person,
    code: str,
    change: Callable[[bytes], bytes],
    number: int,
) -> None:
    record = sealed(store, person, NOISE, limit=90_000)
    key = record.parts[number].key
    tampered(store, key, change)
    with pytest.raises(RemoteError) as refused:
        opened(store, record, person.identity)
    assert (refused.value.code, refused.value.details["key"]) == (code, key)
    findings = list(verify_parts(store, record))
    assert [(found.code, found.severity, found.subject) for found in findings] == [
        (code, "error", key)
    ]


@pytest.mark.parametrize("number", [0, 2, 3])
def test_a_missing_part_is_named(store: DirectoryStore, person: Person, number: int) -> None:
    record = sealed(store, person, NOISE, limit=90_000)
    key = record.parts[number].key
    store.delete([key])
    with pytest.raises(RemoteError) as refused:
        opened(store, record, person.identity)
    assert (refused.value.code, refused.value.details["key"]) == ("object_missing", key)
    assert [found.code for found in verify_parts(store, record)] == ["object_missing"]


def test_verification_reports_every_part_and_goes_on(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE, limit=90_000)
    tampered(store, record.parts[0].key, flipped(5))
    store.delete([record.parts[2].key])
    codes = [(found.code, found.subject) for found in verify_parts(store, record)]
    assert codes == [
        ("part_damaged", record.parts[0].key),
        ("object_missing", record.parts[2].key),
    ]


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2)])
def test_swapped_parts_are_damage(
    store: DirectoryStore, person: Person, one: int, other: int
) -> None:
    record = sealed(store, person, NOISE, limit=90_000)
    swapped(store, record.parts[one].key, record.parts[other].key)
    with pytest.raises(RemoteError) as refused:
        opened(store, record, person.identity)
    assert refused.value.code == "part_damaged"
    assert len(list(verify_parts(store, record))) == 2


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2)])
def test_parts_in_another_order_are_no_volume(
    store: DirectoryStore, person: Person, one: int, other: int
) -> None:
    """The record was changed along with the parts: age itself notices."""
    record = sealed(store, person, NOISE, limit=90_000)
    parts = list(record.parts)
    parts[one], parts[other] = parts[other], parts[one]
    with pytest.raises(RemoteError) as refused:
        opened(store, changed(record, parts=tuple(parts)), person.identity)
    assert refused.value.code == "volume_damaged"


def test_parts_of_another_volume_are_not_this_volume(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE, limit=90_000)
    other = sealed(store, person, NOISE[::-1], prefix=OTHER, limit=90_000)
    for parts in (other.parts, record.parts[:2] + other.parts[2:], record.parts[:-1]):
        with pytest.raises(RemoteError) as refused:
            opened(store, changed(record, parts=parts), person.identity)
        assert refused.value.code == "volume_damaged"
    swapped(store, record.parts[1].key, other.parts[1].key)
    with pytest.raises(RemoteError) as refused:
        opened(store, record, person.identity)
    assert refused.value.code == "part_damaged"


@pytest.mark.parametrize("size", [len(NOISE) - 1, len(NOISE) + 1])
def test_another_plain_size_is_damage(store: DirectoryStore, person: Person, size: int) -> None:
    record = sealed(store, person, NOISE)
    with pytest.raises(RemoteError) as refused:
        opened(store, changed(record, plain_bytes=size), person.identity)
    assert refused.value.code == "volume_damaged"


def foreign(store: DirectoryStore, person: Person, stream: bytes) -> VolumeRecord:
    """A volume as only somebody else could have written it: age over any bytes."""
    import pyrage

    recipient = pyrage.x25519.Recipient.from_str(person.recipient)
    content = pyrage.encrypt(stream, [recipient])
    store.create(layout.part_key(PREFIX, 0), content)
    return VolumeRecord.model_validate(
        {
            "name": "base.tar",
            "media": "application/x-tar",
            "parts": [
                {
                    "key": layout.part_key(PREFIX, 0),
                    "size": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
            ],
            "plain_bytes": 4,
            "plain_sha256": hashlib.sha256(b"text").hexdigest(),
            "stored_bytes": len(content),
        }
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda pack: b"no zstd at all", "zstd"),
        (lambda pack: pack(b"text")[:-2], "bytes, not 4"),
        (lambda pack: pack(b"text") + b"behind it" * 200_000, "zstd"),
        (lambda pack: pack(b"text") + pack(b"behind it"), "holds more"),
        (lambda pack: pack(bytes(1 << 24)), "holds more"),
        (lambda pack: pack(b"texT"), "does not hold"),
    ],
)
def test_a_foreign_stream_is_damage(
    store: DirectoryStore, person: Person, change: Callable[[Any], bytes], what: str
) -> None:
    import zstandard

    record = foreign(store, person, change(zstandard.compress))
    with pytest.raises(RemoteError, match=what) as refused:
        opened(store, record, person.identity)
    assert refused.value.code == "volume_damaged"


def test_without_a_plain_digest_the_checksum_of_zstd_finds_damage(
    store: DirectoryStore, person: Person
) -> None:
    """For tars of a base backup; the frame that the sealer writes carries this checksum."""
    import zstandard

    with SealedWriter(
        store, OTHER, [person.recipient], part_bytes_limit=1 << 20, hash_plain=False
    ) as writer:
        writer.write(NOISE)
        record = writer.commit()
    assert (record.plain_sha256, record.plain_bytes) == (None, len(NOISE))
    assert opened(store, record, person.identity) == NOISE
    frame = unsealed(store, record, person)
    assert zstandard.get_frame_parameters(frame).has_checksum
    for place in (-1, -5, len(frame) // 2):
        store.delete([item.key for item in store.list("")])
        damaged = foreign(store, person, flipped(place)(frame))
        stripped = changed(damaged, plain_sha256=None, plain_bytes=len(NOISE))
        with pytest.raises(RemoteError, match="zstd stream") as refused:
            opened(store, stripped, person.identity)
        assert refused.value.code == "volume_damaged"


def unsealed(store: DirectoryStore, record: VolumeRecord, person: Person) -> bytes:
    import pyrage

    identity = pyrage.x25519.Identity.from_str(person.identity)
    joined = b"".join(store.read(part.key) for part in record.parts)
    return pyrage.decrypt(joined, [identity])


def test_a_window_that_would_eat_the_memory_is_refused(
    store: DirectoryStore, person: Person
) -> None:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    record = foreign(store, person, packer.compress(bytes(1 << 20)) + packer.flush())
    with pytest.raises(RemoteError, match="zstd stream") as refused:
        opened(store, record, person.identity)
    assert refused.value.code == "volume_damaged"


def test_another_identity_is_refused_as_that(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE, limit=90_000)
    stranger, _recipient = create_identity()
    for identity in (stranger, "AGE-SECRET-KEY-1NONSENSE", ""):
        with pytest.raises(RefusedError) as refused:
            opened(store, record, identity)
        assert refused.value.code == "identity_refused"
        assert identity not in str(refused.value.as_document()) or not identity


def test_a_refused_identity_does_not_fetch_the_whole_volume(
    store: DirectoryStore, person: Person
) -> None:
    class Counting(DirectoryStore):
        fetched = 0

        def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
            self.fetched += 1
            return super().reader(key)

    record = sealed(store, person, LARGE, limit=500_000)
    counting = Counting(Path(store.description))
    with pytest.raises(RefusedError):
        opened(counting, record, create_identity()[0])
    assert counting.fetched < len(record.parts) / 2


def test_what_is_not_age_is_damage_not_a_wrong_identity(
    store: DirectoryStore, person: Person
) -> None:
    record = sealed(store, person, b"text")
    store.delete([record.parts[0].key])
    content = b"age-encryption.org/v9\n" + bytes(100)
    store.create(record.parts[0].key, content)
    part = record.parts[0].model_copy(
        update={"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    )
    with pytest.raises(RemoteError) as refused:
        opened(store, changed(record, parts=(part,)), person.identity)
    assert refused.value.code == "volume_damaged"
