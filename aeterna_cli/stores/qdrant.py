"""The Qdrant driver: capture by shard, restore by shard, nothing believed that was not checked."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal
from uuid import uuid4

from aeterna_cli.errors import AeternaError, RemoteError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores import (
    qdrant_capture,
    qdrant_describe,
    qdrant_findings,
    qdrant_holders,
    qdrant_restore,
    qdrant_upload,
)
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.qdrant import (
    OPS_COLLECTION,
    CollectionDescription,
    LiveDigest,
    QdrantIdentity,
    ShardKey,
)
from aeterna_cli.stores.qdrant_http import QdrantHttp
from aeterna_cli.stores.qdrant_marker import IDENTITY_POINT, MARKER_POINT, VECTOR, marker_number

_OWN_POINTS = f"/collections/{OPS_COLLECTION}/points"


def _never() -> bool:
    return False


class QdrantServer:
    """One Qdrant deployment, asked at one peer, and at another where that one does not serve.

    Nothing connects before the first call. Errors of every call: ``TransientError`` for a server
    that is unreachable, slow, throttling or failing (5xx); ``AuthenticationError`` for a refused
    key or certificate; ``RemoteError`` with the server's own words for any other refusal. The API
    key is in no message. Not for use by two threads at once.
    """

    def __init__(self, settings: QdrantSettings, *, replicas: int | None = None) -> None:
        """``replicas`` are those of our own collection: by default one on every peer."""
        self._http = QdrantHttp(settings)
        self._replicas = max(1, len(settings.peers) if replicas is None else replicas)

    def __enter__(self) -> "QdrantServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        self._http.close()

    @property
    def description(self) -> str:
        """The server's address, without secrets."""
        return self._http.description

    def identity(self) -> QdrantIdentity:
        """Who answers. ``RefusedError('qdrant_too_old')`` below 1.12; changes nothing."""
        return qdrant_describe.read_identity(self._http, self._identity_key)

    def ensure_identity(self, wanted: str | None = None) -> str:
        """The deployment's identity, made at the first call together with our own collection.

        ``wanted`` is what a server without one is given: a restore gives it its old one back.
        """
        qdrant_describe.server_version(self._http)
        found = self._identity_key()
        if found is not None:
            return found
        if not qdrant_restore.exists(self._http, OPS_COLLECTION):
            vectors = {"size": 1, "distance": "Dot"}
            body: dict[str, Any] = {"vectors": vectors, "shard_number": 1}
            if self._replicas > 1:
                body["replication_factor"] = self._replicas
            self._http.call("PUT", f"/collections/{OPS_COLLECTION}", body)
        self._upsert_own(IDENTITY_POINT, {"identity": wanted or str(uuid4())})
        made = self._identity_key()
        if made is None:
            raise RemoteError("identity_not_kept", "the identity point is not there after writing")
        return made

    def findings(self, purpose: Literal["backup", "restore"]) -> Sequence[Finding]:
        """What speaks against a backup or a restore; reads only."""
        return qdrant_findings.find(self._http, purpose)

    def write_marker(self, number: int) -> None:
        """The marker is applied on the server when this returns. Wants ``ensure_identity``."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._upsert_own(MARKER_POINT, {"number": number, "time": now})

    def marker(self) -> int | None:
        """The last marker, None before the first."""
        return marker_number(MARKER_POINT, self._own_payload(MARKER_POINT))

    def _identity_key(self) -> str | None:
        value = self._own_payload(IDENTITY_POINT).get("identity")
        return None if value is None else str(value)

    def _upsert_own(self, identifier: str, payload: dict[str, Any]) -> None:
        point = {"id": identifier, "vector": VECTOR, "payload": payload}
        self._http.upsert(OPS_COLLECTION, {"points": [point]})

    def _own_payload(self, identifier: str) -> dict[str, Any]:
        """Empty where the collection or the point is missing."""
        try:
            found = self._http.call(
                "POST", _OWN_POINTS, {"ids": [identifier], "with_payload": True}
            )
        except AeternaError as error:
            if error.details.get("status") == 404:
                return {}
            raise
        return dict(found[0]["payload"] or {}) if found else {}

    def describe(self) -> list[CollectionDescription]:
        """Everything that shard snapshots leave out, of every collection, our own included."""
        return qdrant_describe.describe_all(self._http)

    def collections(self) -> tuple[str, ...]:
        """The names of all collections, without aliases."""
        return qdrant_describe.collection_names(self._http)

    def collection(self, name: str) -> CollectionDescription | None:
        """As ``describe``, of one collection; None where no collection, or only an alias, is."""
        if not qdrant_restore.exists(self._http, name):
            return None
        return qdrant_describe.describe_collection(self._http, name, {})

    def aliases(self) -> Mapping[str, str]:
        """Every alias and the collection that it points to."""
        return qdrant_restore.aliases(self._http)

    def count(
        self, collection: str, shard_key: ShardKey | None, matching: dict[str, Any] | None = None
    ) -> int:
        """How many points there are, exactly; ``matching`` is a filter of the server's."""
        return qdrant_describe.exact_count(self._http, collection, shard_key, matching)

    def make_like(self, description: CollectionDescription) -> None:
        """An empty collection of this description is there, with its indexes, keys and strict mode.

        One that is there keeps its configuration and points: only payload indexes are added. So
        the call may be repeated after a crash.
        """
        if qdrant_restore.exists(self._http, description.name):
            qdrant_restore.make_indexes(self._http, description)
        else:
            qdrant_restore.create(self._http, description, replace=False)
        qdrant_restore.set_strict_mode(self._http, description)

    def capture_shard(
        self, collection: str, shard_id: int
    ) -> AbstractContextManager[Iterator[bytes]]:
        """A shard's snapshot, streamed; the iterator's plain end means that it is whole.

        The tar must have its end marker and a ``wal`` folder, the length and SHA-256 must agree
        where the server gives them: else ``TransientError('snapshot_truncated')``,
        ``('snapshot_checksum_differs')`` or ``RemoteError('snapshot_damaged')``,
        ``('snapshot_without_wal')`` after the last chunk. ``RefusedError('snapshots_refused')``
        where the server or the key allows none (403, 405, 501): take a logical image. Leaving
        early is no error; nothing is left on the server either way.
        """
        return self._shard_snapshot(collection, shard_id)

    @contextmanager
    def _shard_snapshot(self, collection: str, shard_id: int) -> Iterator[Iterator[bytes]]:
        with (
            qdrant_holders.holding(self._http, collection, shard_id) as http,
            qdrant_capture.shard_snapshot(http, collection, shard_id) as chunks,
        ):
            yield chunks

    def logical_capture(self, collection: str, shard_key: ShardKey | None) -> Iterator[bytes]:
        """NDJSON ``{"id", "vector", "payload", "shard_key"}``, one point a line, in id order.

        A chunk is a page of whole lines. Points written meanwhile may or may not be in it.
        """
        return qdrant_capture.logical_chunks(self._http, collection, shard_key)

    def logical_restore(
        self, collection: str, stream: Iterable[bytes], stop: Callable[[], bool] = _never
    ) -> int:
        """Upsert every point of a logical image; returns their number. May be repeated.

        ``FailedError('logical_image_damaged')`` for a line that is no point: those before it are
        written. ``stop`` is asked after every batch and ends it with ``InterruptedByUser``.
        """
        return qdrant_upload.upsert_lines(self._http, collection, stream, stop)

    def ids(self, collection: str) -> Iterator[str]:
        """The id of every point as text, in no promised order; one under two keys comes twice."""
        cluster = qdrant_describe.cluster_information(self._http, collection)
        keys = dict.fromkeys(shard.key for shard in qdrant_describe.shards_of(cluster)) or {None: 0}
        for key in keys:
            yield from qdrant_capture.scrolled_ids(self._http, collection, key)

    def live_digests(self, collection: str) -> LiveDigest:
        """Digest and count by scroll; equal to the sum of the shards' images when nobody writes."""
        cluster = qdrant_describe.cluster_information(self._http, collection)
        shards = qdrant_describe.shards_of(cluster)
        keys = tuple(dict.fromkeys(shard.key for shard in shards)) or (None,)
        return qdrant_capture.live_digest(self._http, collection, keys)

    def create_collection(
        self, description: CollectionDescription, *, replace: bool = False
    ) -> None:
        """An empty collection with the recorded configuration, payload indexes and shard keys.

        ``ConflictError('collection_exists')`` where it is there and ``replace`` was not asked for;
        with ``replace`` it is deleted first, so the call may be repeated after a crash.
        ``RefusedError('own_collection')`` for our own; ``('shard_ids_differ')`` where keys of
        several shards cannot get their old ids. Strict mode and aliases come with ``finish``.
        """
        qdrant_restore.create(self._http, description, replace=replace)

    def upload_shard(
        self,
        description: CollectionDescription,
        shard_id: int,
        stream: Iterable[bytes],
        size: int,
        *,
        sha256: str | None = None,
    ) -> None:
        """Replace a shard's content by a snapshot of ``size`` bytes; may be repeated.

        ``shard_id`` is the recorded one. The server validates ``sha256`` where it is given. An
        error of ``stream`` itself passes through and leaves the shard as it was. Errors:
        ``FailedError('upload_size_differs')``, ``RefusedError('shard_layout_differs')``,
        ``('shard_not_local')``.
        """
        qdrant_upload.upload(self._http, description, shard_id, stream, size, sha256=sha256)

    def finish(
        self,
        description: CollectionDescription,
        points: Mapping[ShardKey | None, int],
        *,
        timeout: float = 600,
    ) -> None:
        """The collection is ready and holds exactly ``points`` per shard key; strict mode is set.

        ``points`` are those of the images, not of the description, which may be younger or older.
        Errors as of ``wait_ready``. Then call ``set_aliases``, after all collections are finished.
        """
        qdrant_restore.wait_ready(
            self._http,
            description,
            points,
            lambda key: qdrant_describe.exact_count(self._http, description.name, key),
            timeout,
        )
        qdrant_restore.set_strict_mode(self._http, description)

    def set_aliases(self, description: CollectionDescription) -> None:
        """The recorded aliases point to the collection, switched in one atomic call."""
        qdrant_restore.point_aliases(self._http, description)
