"""A tenant's objects back into the application's buckets."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import ConflictError, RefusedError, RemoteError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.backup.tenant_objects import (
    ArchivedObject,
    ObjectDigest,
    of_tenant,
    sha256_of,
)
from aeterna_cli.workflows.restore.tenant_slice import TenantSlice, blocks
from aeterna_cli.workflows.tenant.archive import OBJECT_LIST, OBJECT_TAR, OBJECTS
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts

if TYPE_CHECKING:
    from aeterna_cli.stores.application_objects import ApplicationObjects


@dataclass(frozen=True)
class ObjectsChange:
    """What a restore does (or did), in objects. ``changed`` are there with other content."""

    archived: int
    new: int
    changed: int
    equal: int
    surplus: int


class TenantObjects:
    """The objects of one restore. Memory grows with the number of the tenant's objects."""

    def __init__(
        self,
        place: Deployment,
        source: TenantSlice,
        whereabouts: Whereabouts,
        check: Callable[[], None],
    ) -> None:
        self._place = place
        self._source = source
        self._whereabouts = whereabouts
        self._check = check

    def look(self, mode: str) -> ObjectsChange:
        """What would be done; reads every live object that has a saved one of the same size."""
        stores, live = self._stores(), self._live()
        counts = {"new": 0, "changed": 0, "equal": 0}
        saved = set()
        for one in self._list():
            self._check()
            saved.add((one.store, one.key))
            counts[self._state(stores, live, one)] += 1
        surplus = len(live.keys() - saved) if mode == "replace" else 0
        if mode == "missing":
            counts["changed"], counts["equal"] = 0, counts["equal"] + counts["changed"]
        return ObjectsChange(len(saved), surplus=surplus, **counts)

    def apply(self, mode: str) -> ObjectsChange:
        """Every object of the archive is there; may be repeated."""
        change = self.look(mode)
        names = {one.member: one for one in self._list()}
        stores, live = self._stores(), self._live()
        for archived, content in self._contents(names):
            self._check()
            state = self._state(stores, live, archived)
            if state == "equal" or (state == "changed" and mode == "missing"):
                continue
            proven = cast(BinaryIO, _Proven(content, archived.sha256))
            try:
                stores[archived.store].write(archived.key, proven, replace=mode == "replace")
            except ConflictError as error:
                if error.code != "object_exists":
                    raise  # it came meanwhile: mode missing leaves it alone
        if mode == "replace":
            saved = {(one.store, one.key) for one in names.values()}
            for store, key in sorted(live.keys() - saved):
                self._check()
                stores[store].delete([key])
        return change

    def compare(self, mode: str) -> list[Finding]:
        """The live objects against the archive's digest."""
        wanted = self._source.facts.objects
        if mode == "missing" or not wanted:
            return []
        digest, stores = ObjectDigest(), self._stores()
        for store, key in self._live():
            self._check()
            sha256 = _sha256(stores[store], key)
            digest.add(ArchivedObject("", store, key, 0, sha256, ""))
        if digest.result() == wanted["digest"]:
            return []
        message = f"{wanted['count']} objects were restored, {digest.count} are there, not the same"
        return [Finding("objects_differ", "error", "objects", message)]

    # -- parts

    def _contents(
        self, names: dict[str, ArchivedObject]
    ) -> Iterator[tuple[ArchivedObject, BinaryIO]]:
        """Every object with a stream of its bytes, good until the next one is asked for."""
        with (
            self._source.open(OBJECTS, OBJECT_TAR) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for entry in tar:
                archived, content = names.get(entry.name), tar.extractfile(entry)
                if archived is None or content is None:
                    raise RemoteError(
                        "objects_damaged", "the backup's objects are not those of its list"
                    )
                yield archived, cast(BinaryIO, content)

    def _state(
        self,
        stores: "dict[str, ApplicationObjects]",
        live: dict[tuple[str, str], int],
        one: ArchivedObject,
    ) -> str:
        size = live.get((one.store, one.key))
        if size is None:
            return "new"
        if size != one.size or _sha256(stores[one.store], one.key) != one.sha256:
            return "changed"
        return "equal"

    def _live(self) -> dict[tuple[str, str], int]:
        found = of_tenant(self._place, self._whereabouts)
        return {(store.name, one.key): one.size for store, one, _rule in found}

    def _list(self) -> Iterator[ArchivedObject]:
        from aeterna_cli.stores.qdrant_image import lines_of

        with self._source.open(OBJECTS, OBJECT_LIST) as stream:
            for line in lines_of(blocks(stream)):
                yield ArchivedObject(**json.loads(line))

    def _stores(self) -> "dict[str, ApplicationObjects]":
        stores = {one.name: one for one in self._place.application_objects()}
        missing = {one.store for one in self._list()} - stores.keys()
        if missing:
            raise RefusedError(
                "object_store_unknown",
                f"the backup has objects of {', '.join(sorted(missing))}, which the profile does"
                " not name",
                hint="name those buckets in object_stores of the profile, or leave objects out",
                next_steps=["--store postgres --store qdrant --store redis"],
            )
        return stores


def _sha256(store: "ApplicationObjects", key: str) -> str:
    with store.read(key) as source:
        return sha256_of(source)


class _Proven:
    """A stream that raises at its end where it is not what the list says."""

    def __init__(self, source: BinaryIO, sha256: str) -> None:
        self._source = source
        self._wanted = sha256
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        if not data and self._hash.hexdigest() != self._wanted:
            raise RemoteError("objects_damaged", "an object of the backup is not the one it lists")
        return data
