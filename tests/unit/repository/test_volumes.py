"""Volumes: sealed, and opened again as they were."""

import hashlib
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Never

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
from tests.unit.repository.given import BACKUP, PREFIX, Person, flipped, sealed, tampered

OTHER = layout.volume_prefix(BACKUP, "postgres", "other.tar")
NOISE = random.Random(7).randbytes(300_000)  # noqa: S311 - the same in every run
LARGE = random.Random(8).randbytes(6 << 20)  # noqa: S311 - the same in every run


def opened(store: DirectoryStore, record: VolumeRecord, identity: str) -> bytes:
    with open_volume(store, record, identity) as stream:
        return stream.read()


def keys(store: DirectoryStore) -> list[str]:
    return [item.key for item in store.list("")]


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
    record = sealed(store, person, LARGE)  # more than fits into the pipes: somebody is waiting

    def read() -> None:
        with open_volume(store, record, person.identity) as stream:
            stream.read(5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read()


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

print(cycle("small", 80), cycle("large", 400))
"""


def test_memory_does_not_grow_with_the_volume(store: DirectoryStore) -> None:
    """Peaks in MiB of a process of its own, after 80 and after 400 MiB that do not compress.

    Some growth is the allocator's: each thread has its own heap.
    """
    command = [sys.executable, "-c", MEMORY, store.description]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large - small < 80
