"""The data directory: its collections and aliases, the peers they lie on, the periodic flush."""

import asyncio
import fcntl
import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aeterna_cli.errors import ConflictError
from aeterna_cli.lab.qdrant.collection import DOCUMENT, Collection
from aeterna_cli.lab.qdrant.faults import Faults
from aeterna_cli.lab.qdrant.files import read_document, remove_folder, write_document
from aeterna_cli.lab.qdrant.peers import Peers
from aeterna_cli.lab.qdrant.refusals import already_exists, bad_request, not_found, standalone
from aeterna_cli.lab.qdrant.schemas import new_config
from aeterna_cli.lab.qdrant.transfers import TransferRule, recover_forever
from aeterna_cli.lab.qdrant.versions import Version

FLUSH_SECONDS = 5.0
_NAME_LIMIT = 255
_FORBIDDEN = set('<>:"/\\|?*\0\x1f')


class Node:
    """Everything under one data directory; a second process on it is refused."""

    def __init__(
        self,
        directory: Path,
        version: Version,
        *,
        cluster: bool = True,
        allow_faults: bool = False,
        ports: Sequence[int] = (),
    ) -> None:
        """``ports`` are those of several peers; without them there is one."""
        self.directory = directory
        self.version = version
        self.cluster = cluster
        self.faults = Faults() if allow_faults else None
        self.process_id = str(uuid.uuid4())
        self.started = time.time()
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self.snapshots = directory / "snapshots"
        self.temporary = directory / "temporary"
        self._collections = directory / "collections"
        self.background: set[asyncio.Future[None]] = set()
        self._flushing: asyncio.Task[None] | None = None
        self._recovering: asyncio.Task[None] | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._take_lock()
        shutil.rmtree(self.temporary, ignore_errors=True)
        for folder in (self.snapshots, self.temporary, self._collections):
            folder.mkdir(exist_ok=True)
        self.peers = Peers(directory / "peer.json", ports)
        self.transfer_rule = TransferRule()

    def _take_lock(self) -> int:
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise ConflictError(
                "lab_qdrant_in_use", f"another server works in {self.directory}"
            ) from error
        return lock

    @property
    def peer_id(self) -> int:
        """The peer that the request at hand was sent to."""
        return self.peers.asked.id

    def loads(self, also: Collection) -> Counter[int]:
        """How many replicas lie on each peer, those of a collection that is being made included."""
        collections = {id(one): one for one in (*self.collections.values(), also)}
        return Counter(
            number
            for collection in collections.values()
            for shard in collection.shards.values()
            for number in shard.replicas.states
        )

    async def start(self) -> None:
        """Open what is committed; a collection without its document was never acknowledged."""
        for folder in sorted(self._collections.iterdir()):
            if (folder / DOCUMENT).exists():
                found = Collection.open(folder.name, folder, self)
                self.collections[found.name] = found
            else:
                shutil.rmtree(folder)
        path = self.directory / "aliases.json"
        known = read_document(path) if path.exists() else {}
        self.aliases = {name: of for name, of in known.items() if of in self.collections}
        self._flushing = asyncio.create_task(self._flush_forever())
        if self.peers.several:
            self._recovering = asyncio.create_task(recover_forever(self))

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            for collection in list(self.collections.values()):
                await collection.flush()

    async def stop(self) -> None:
        """Everything acknowledged is applied and on disk, and the directory is free."""
        for task in (self._flushing, self._recovering):
            if task is not None:
                task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)
        for collection in self.collections.values():
            await collection.close()
        os.close(self._lock)

    # Collections

    def collection(self, name: str) -> Collection:
        """By its name or an alias; ``Refusal`` 404."""
        found = self.collections.get(self.aliases.get(name, name))
        if found is None:
            raise not_found(f"Collection `{name}` doesn't exist!")
        return found

    def create_collection(self, name: str, body: dict[str, Any]) -> Collection:
        _check_name(name)
        if name in self.collections:
            raise already_exists(f"Collection `{name}` already exists!")
        if name in self.aliases:
            raise bad_request(f"Can't create collection with name {name}. Alias already exists")
        config = new_config(body, self.version)
        if not self.cluster and config["params"].get("sharding_method") == "custom":
            raise standalone()
        return self._make(name, config)

    def create_from_config(self, name: str, config: dict[str, Any]) -> Collection:
        """With the configuration of a snapshot, which never holds shard keys."""
        _check_name(name)
        return self._make(name, config)

    def _make(self, name: str, config: dict[str, Any]) -> Collection:
        folder = self._collections / name
        remove_folder(folder, self.temporary)
        made = Collection.create(name, folder, self, config)
        self.collections[name] = made
        return made

    async def delete_collection(self, name: str) -> bool:
        """The collection and its aliases are gone; snapshots in the snapshot folder stay."""
        found = self.collections.pop(name, None)
        if found is None:
            return False
        self.aliases = {alias: of for alias, of in self.aliases.items() if of != name}
        self._save_aliases()
        await found.close()
        remove_folder(found.folder, self.temporary)
        return True

    # Aliases

    def change_aliases(self, actions: list[dict[str, Any]]) -> None:
        """In order. A fault stops there: what was done before it stays, as on the server."""
        try:
            for action in actions:
                self._change_alias(action)
        finally:
            self._save_aliases()

    def _change_alias(self, action: dict[str, Any]) -> None:
        if "create_alias" in action:
            wanted = action["create_alias"]
            name, target = wanted["alias_name"], wanted["collection_name"]
            if target not in self.collections:
                raise not_found(f"Collection `{target}` doesn't exist!")
            if name in self.collections:
                raise already_exists(f"Collection `{name}` already exists!")
            _check_name(name)
            self.aliases[name] = target
        elif "delete_alias" in action:
            self.aliases.pop(action["delete_alias"]["alias_name"], None)
        else:
            wanted = action["rename_alias"]
            before, after = wanted["old_alias_name"], wanted["new_alias_name"]
            if before not in self.aliases:
                raise not_found(f"Alias {before} does not exists!")
            self.aliases[after] = self.aliases.pop(before)

    def _save_aliases(self) -> None:
        write_document(self.directory / "aliases.json", self.aliases)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= _NAME_LIMIT or set(name) & _FORBIDDEN or name in (".", ".."):
        raise bad_request(f"collection name {name!r} is not allowed")
