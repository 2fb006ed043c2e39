"""A tenant's objects of the application's buckets: a tar of numbered members, and their list.

The names are the application's: any text that S3 allows. They stand in the list, inside an
encrypted volume, and nowhere else.
"""

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import TransientError
from aeterna_cli.repository.volume import VolumeRecord
from aeterna_cli.workflows.tenant.archive import OBJECT_LIST, OBJECT_TAR, OBJECTS
from aeterna_cli.workflows.tenant.whereabouts import Unclassified, Whereabouts

if TYPE_CHECKING:
    from aeterna_cli.stores.application_objects import ApplicationObject, ApplicationObjects
    from aeterna_cli.workflows.backup.volumes import GovernedWriter, Volumes

_PIECE = 1 << 20


@dataclass(frozen=True)
class ArchivedObject:
    """One object: ``member`` is its name in the tar, ``store`` what the profile calls its bucket,
    ``key`` its name below the bucket's prefix."""

    member: str
    store: str
    key: str
    size: int
    sha256: str
    rule: str


@dataclass(frozen=True)
class CapturedObjects:
    volumes: tuple[VolumeRecord, ...]
    count: int
    bytes: int
    digest: str
    unclassified: Unclassified


class ObjectDigest:
    """The sum modulo 2**256 of SHA-256 of ``[store, key, sha256]`` as JSON, each read as a little
    endian number: independent of order."""

    def __init__(self) -> None:
        self.count = self.bytes = self._total = 0

    def add(self, one: ArchivedObject) -> None:
        text = json.dumps([one.store, one.key, one.sha256], ensure_ascii=False)
        number = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        self._total = (self._total + int.from_bytes(number, "little")) % (1 << 256)
        self.count += 1
        self.bytes += one.size

    def result(self) -> str:
        return f"{self._total:064x}"


def sha256_of(stream: BinaryIO) -> str:
    """Of everything that is left in the stream."""
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


def of_tenant(
    place: Deployment, whereabouts: Whereabouts
) -> Iterator[tuple["ApplicationObjects", "ApplicationObject", str]]:
    """Every object of the tenant with its bucket and rule; what is being staged is left out."""
    judge, tenant = whereabouts.objects, whereabouts.tenant.id
    for store in place.application_objects():
        for found in store.objects():
            judged = judge.classify(found.key, store.name)
            if judged.holder == "tenant" and judged.tenants == (tenant,):
                assert judged.rule is not None  # noqa: S101 - somebody's has a rule
                if judged.rule.role != "staging":
                    yield store, found, judged.rule_name


def capture(
    place: Deployment,
    whereabouts: Whereabouts,
    volumes: "Volumes",
    work: Path,
    check: Callable[[], None],
) -> CapturedObjects:
    """Two volumes. ``TransientError('object_changed')`` where one changed while it was read."""
    digest = ObjectDigest()
    with tempfile.TemporaryFile(dir=work) as lines:
        with volumes.open(OBJECTS, OBJECT_TAR) as writer:
            sink = cast(IO[bytes], _Sink(writer))
            with tarfile.open(fileobj=sink, mode="w|", bufsize=_PIECE) as tar:
                for number, (store, found, rule) in enumerate(of_tenant(place, whereabouts)):
                    check()
                    archived = _added(tar, store, found, rule, f"{number:08d}")
                    digest.add(archived)
                    lines.write(json.dumps(asdict(archived)).encode() + b"\n")
            content = writer.commit()
        lines.seek(0)
        with volumes.open(OBJECTS, OBJECT_LIST) as writer:
            while block := lines.read(_PIECE):
                writer.write(block)
            names = writer.commit()
    lost = _unclassified(place, whereabouts)
    return CapturedObjects((content, names), digest.count, digest.bytes, digest.result(), lost)


def _added(
    tar: tarfile.TarFile,
    store: "ApplicationObjects",
    found: "ApplicationObject",
    rule: str,
    member: str,
) -> ArchivedObject:
    entry = tarfile.TarInfo(member)
    entry.size = found.size
    entry.mtime = round(found.modified.timestamp())
    with store.read(found.key) as source:
        hashed = _Hashed(source)
        try:
            tar.addfile(entry, cast(IO[bytes], hashed))
        except OSError as error:  # fewer bytes than the listing said
            raise _changed(store, found.key) from error
        if source.read(1):
            raise _changed(store, found.key)
    return ArchivedObject(member, store.name, found.key, found.size, hashed.digest(), rule)


def _changed(store: "ApplicationObjects", key: str) -> TransientError:
    return TransientError(
        "object_changed", f"an object of {store.description} changed while it was read: {key!r}"
    )


def _unclassified(place: Deployment, whereabouts: Whereabouts) -> Unclassified:
    judge, lost = whereabouts.objects, Unclassified()
    for store in place.application_objects():
        for found in store.objects():
            if judge.classify(found.key, store.name).holder in ("unclassified", "ambiguous"):
                lost.add(whereabouts.mentioned(found.key))
    return lost


class _Sink:
    """What a tar is written to."""

    def __init__(self, writer: "GovernedWriter") -> None:
        self._writer = writer

    def write(self, data: bytes) -> int:
        self._writer.write(data)
        return len(data)


class _Hashed:
    """A stream that remembers the SHA-256 of what was read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int = _PIECE) -> bytes:
        data: bytes = self._source.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()
