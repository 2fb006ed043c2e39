"""Volumes: sealed, opened again, and every way in which the stored bytes can be wrong."""

import hashlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeterna_cli.errors import AeternaError, RefusedError, RemoteError
from aeterna_cli.keys.slots import create_identity
from aeterna_cli.repository import layout
from aeterna_cli.repository.opening import open_volume, verify_parts
from aeterna_cli.repository.pipeline import SealedWriter
from aeterna_cli.repository.volume import VolumeRecord, media_of
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.unit.repository.given import BACKUP, PREFIX, Person, flipped, sealed, swapped, tampered

OTHER = layout.volume_prefix(BACKUP, "postgres", "other.tar")
NOISE = random.Random(7).randbytes(300_000)  # noqa: S311 - the same in every run


def opened(store: DirectoryStore, record: VolumeRecord, identity: str) -> bytes:
    with open_volume(store, record, identity) as stream:
        return stream.read()


def keys(store: DirectoryStore) -> list[str]:
    return [item.key for item in store.list("")]


def changed(record: VolumeRecord, **values: object) -> VolumeRecord:
    """The record as somebody else would have it, past all checks."""
    return record.model_copy(update=values)


@settings(max_examples=12, deadline=None)
@given(
    noise=st.integers(0, 200_000),
    zeros=st.integers(0, 300_000),
    limit=st.integers(1_000, 100_000),
    seed=st.integers(),
)
def test_what_was_sealed_is_opened(noise: int, zeros: int, limit: int, seed: int) -> None:
    plain = random.Random(seed).randbytes(noise) + bytes(zeros)  # noqa: S311 - no secret
    person = Person(*create_identity())
    with tempfile.TemporaryDirectory() as folder:
        store = DirectoryStore(Path(folder))
        record = sealed(store, person, plain, limit=limit)
        assert opened(store, record, person.identity) == plain
        assert list(verify_parts(store, record)) == []
        assert all(part.size == limit for part in record.parts[:-1])
        assert 0 < record.parts[-1].size <= limit
        assert keys(store) == [part.key for part in record.parts]
        assert record.plain_bytes == len(plain)
        assert record.plain_sha256 == hashlib.sha256(plain).hexdigest()


def test_an_empty_volume_is_a_volume(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, b"")
    assert (record.plain_bytes, len(record.parts), record.name) == (0, 1, "base.tar")
    assert record.media == "application/x-tar"
    assert opened(store, record, person.identity) == b""


def test_no_part_is_made_for_nothing(store: DirectoryStore, person: Person) -> None:
    size = sealed(store, person, NOISE).stored_bytes
    exact = sealed(store, person, NOISE, prefix=OTHER, limit=size)
    assert abs(exact.stored_bytes - size) < 200  # the header of age is not of a fixed size
    again = sealed(store, person, NOISE, prefix=PREFIX + "2", limit=exact.stored_bytes)
    assert [part.size for part in again.parts if part.size == 0] == []


def test_parts_joined_are_an_ordinary_age_file_of_zstd(
    store: DirectoryStore, person: Person
) -> None:
    import pyrage
    import zstandard

    record = sealed(store, person, NOISE, limit=100_000)
    assert len(record.parts) > 2
    joined = b"".join(store.read(part.key) for part in record.parts)
    identity = pyrage.x25519.Identity.from_str(person.identity)
    packed = pyrage.decrypt(joined, [identity])
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == NOISE
    assert joined.startswith(b"age-encryption.org/v1\n")
    assert NOISE[:64] not in joined


def test_every_recipient_can_open_it(store: DirectoryStore, person: Person) -> None:
    offline = Person(*create_identity())
    recipients = [person.recipient, offline.recipient]
    with SealedWriter(store, PREFIX, recipients, part_bytes_limit=1 << 20) as writer:
        writer.write(b"for both")
        record = writer.commit()
    assert opened(store, record, person.identity) == b"for both"
    assert opened(store, record, offline.identity) == b"for both"


def test_reading_a_little_still_proves_all(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE, limit=100_000)
    with open_volume(store, record, person.identity) as stream:
        assert stream.read(5) == NOISE[:5]
        assert stream.readable()
    tampered(store, record.parts[-1].key, flipped(-1))
    with (
        pytest.raises(RemoteError) as refused,
        open_volume(store, record, person.identity) as stream,
    ):
        assert stream.read(5) == NOISE[:5]
    assert refused.value.code == "part_damaged"


def test_a_swallowed_error_comes_back(store: DirectoryStore, person: Person) -> None:
    """A reader that takes any error for the end must not make a volume good."""
    record = sealed(store, person, NOISE)
    tampered(store, record.parts[0].key, flipped(-1))

    def read() -> None:
        with open_volume(store, record, person.identity) as stream:
            for _ in range(2):
                with pytest.raises(RemoteError):
                    stream.read()

    with pytest.raises(RemoteError) as refused:
        read()
    assert refused.value.code == "part_damaged"


def test_an_error_of_the_reader_is_its_own(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE * 20)

    def read() -> None:
        with open_volume(store, record, person.identity) as stream:
            stream.read(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()


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


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": []},
        {"name": "other.tar"},
        {"stored_bytes": 1},
        {"plain_bytes": -1},
        {"plain_bytes": "7"},
        {"plain_sha256": "a" * 63},
        {"plain_sha256": "A" * 64},
        {"plain_sha256": "a" * 64 + "\n"},
    ],
)
def test_a_record_that_cannot_be_is_refused(
    store: DirectoryStore, person: Person, changes: dict[str, object]
) -> None:
    record = sealed(store, person, b"text")
    with pytest.raises(ValueError, match="validation error"):
        VolumeRecord.model_validate({**record.model_dump(), **changes})


def test_parts_of_a_record_have_no_gap(store: DirectoryStore, person: Person) -> None:
    record = sealed(store, person, NOISE, limit=90_000)
    document = record.model_dump()
    for parts in (document["parts"][1:], document["parts"][::-1], document["parts"][:1] * 2):
        with pytest.raises(ValueError, match="validation error"):
            VolumeRecord.model_validate({**document, "parts": parts})


def test_media_types() -> None:
    assert media_of("dump.rdb") == "application/x-redis-rdb"
    assert media_of("0001.ndjson") == "application/x-ndjson"
    assert media_of("backup_manifest") == "application/octet-stream"


def test_faults_of_the_store_pass_through(store: DirectoryStore, person: Person) -> None:
    class Locked(DirectoryStore):
        def reader(self, key: str) -> Never:
            raise RefusedError("repository_not_writable", "no permission")

    class Odd(DirectoryStore):
        def reader(self, key: str) -> Never:
            raise RemoteError("repository_io", "input/output error")

    record = sealed(store, person, b"text")
    where = Path(store.description)
    for broken, code in ((Locked(where), "repository_not_writable"), (Odd(where), "repository_io")):
        with pytest.raises(AeternaError) as refused:
            opened(broken, record, person.identity)
        assert refused.value.code == code
        with pytest.raises(AeternaError) as refused:
            list(verify_parts(broken, record))
        assert refused.value.code == code


def test_the_standard_tools_open_it(store: DirectoryStore, person: Person, tmp_path: Path) -> None:
    """What the format's page promises, without any of our code behind age."""
    record = sealed(store, person, NOISE, limit=90_000)
    joined, packed = tmp_path / "joined.age", tmp_path / "joined.zst"
    names = sorted(Path(store.description, layout.BACKUPS).rglob("base.tar.zst.age.*"))
    joined.write_bytes(b"".join(name.read_bytes() for name in names))
    import pyrage

    identity = pyrage.x25519.Identity.from_str(person.identity)
    pyrage.decrypt_file(str(joined), str(packed), [identity])
    plain = subprocess.run(["zstd", "-dc", packed], capture_output=True, check=True).stdout
    assert hashlib.sha256(plain).hexdigest() == record.plain_sha256
    assert packed.stat().st_size < record.stored_bytes


MEMORY = """
import random, resource, sys
from pathlib import Path
from aeterna_cli.keys.slots import create_identity
from aeterna_cli.repository.pipeline import SealedWriter, open_volume
from aeterna_cli.stores.directory_store import DirectoryStore

identity, recipient = create_identity()
store = DirectoryStore(Path(sys.argv[1]))
block = random.Random(1).randbytes(1 << 20)

def cycle(name, count):
    with SealedWriter(store, "backups/x/" + name, [recipient], part_bytes_limit=20 << 20) as writer:
        for _ in range(count):
            writer.write(block)
        record = writer.commit()
    with open_volume(store, record, identity) as stream:
        while stream.read(1 << 20):
            pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

print(cycle("small", 8), cycle("large", 80))
"""


def test_memory_does_not_grow_with_the_volume(store: DirectoryStore) -> None:
    """Peaks in MiB of a process of its own, after 8 and after 80 MiB that do not compress."""
    command = [sys.executable, "-c", MEMORY, store.description]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large - small < 8
