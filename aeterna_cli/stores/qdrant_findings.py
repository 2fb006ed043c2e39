"""What speaks against backing up a Qdrant server, or restoring to it."""

import importlib.util
from collections.abc import Iterator, Sequence
from typing import Literal

from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardDescription
from aeterna_cli.stores.qdrant_describe import (
    cluster_information,
    describe_all,
    read_identity,
    version_numbers,
)
from aeterna_cli.stores.qdrant_http import QdrantHttp
from aeterna_cli.stores.qdrant_restore import KNOWN_OPTIONS, KNOWN_PARAMETERS

#: 1.17.0 fixed the consistency of WAL and clocks in shard snapshots, 1.17.1 the file:// recovery.
RECOMMENDED = (1, 17, 1)


def find(http: QdrantHttp, purpose: Literal["backup", "restore"]) -> Sequence[Finding]:
    return [*_server_findings(http, purpose), *_collection_findings(http, purpose)]


def _server_findings(http: QdrantHttp, purpose: str) -> Iterator[Finding]:
    where = http.description
    identity = read_identity(http, lambda: None)
    if version_numbers(identity.version) < RECOMMENDED:
        yield Finding(
            "qdrant_version_old",
            "warning",
            where,
            f"Qdrant {identity.version} has known faults in shard snapshots and transfers",
            mend="upgrade to 1.17.1 or later, one minor version at a time",
        )
    if identity.cluster_enabled and identity.consensus != "working":
        yield Finding(
            "qdrant_consensus_broken",
            "error",
            where,
            f"the consensus thread of this peer is {identity.consensus}",
            mend="look at the server's log; collections cannot be made or changed",
        )
    if purpose == "restore" and not identity.cluster_enabled:
        yield Finding(
            "qdrant_standalone",
            "info",
            where,
            "cluster mode is off: collections with custom shard keys cannot be restored here",
            mend="start Qdrant with cluster.enabled: true (one node is enough)",
        )
    if http.sends_key_in_clear:
        yield Finding(
            "qdrant_key_in_clear",
            "warning",
            where,
            "the API key travels unencrypted",
            mend="serve Qdrant over https and set qdrant.url and qdrant.tls",
        )
    yield from _machine_findings()


def _machine_findings() -> Iterator[Finding]:
    if importlib.util.find_spec("qdrant_edge") is None:
        yield Finding(
            "qdrant_engine_missing",
            "warning",
            "this machine",
            "snapshots cannot be opened and proved here: Qdrant's engine is not installed",
            mend="install aeterna-cli again: qdrant-edge-py belongs to it",
        )


def _collection_findings(http: QdrantHttp, purpose: str) -> Iterator[Finding]:
    for description in describe_all(http):
        if description.status == "red":
            yield Finding(
                "qdrant_collection_red",
                "error",
                description.name,
                "the server says that this collection is broken",
                mend="read optimizer_status of the collection and the server's log",
            )
        cluster = cluster_information(http, description.name)
        if cluster.get("shard_transfers") or cluster.get("resharding_operations"):
            yield Finding(
                "qdrant_shards_moving",
                "warning",
                description.name,
                "shards of this collection are being moved: points may be in two places",
                mend="wait until the transfers have ended",
            )
        for shard in description.shards:
            yield from _shard_findings(description.name, shard)
        if purpose == "backup":
            yield from _option_findings(description)


def _shard_findings(collection: str, shard: ShardDescription) -> Iterator[Finding]:
    subject = f"{collection}, shard {shard.id}"
    inactive = [f"{one.state} on {one.peer}" for one in shard.replicas if one.state != "Active"]
    if inactive:
        severity = "error" if len(inactive) == len(shard.replicas) else "warning"
        yield Finding(
            "qdrant_shard_not_active", severity, subject, f"replicas are {', '.join(inactive)}"
        )
    if not shard.local:
        yield Finding(
            "qdrant_shard_elsewhere",
            "error",
            subject,
            "no peer whose address is known has an active replica that could give its snapshot",
            mend="name every peer in qdrant.peers, or take a logical image",
        )


def _option_findings(description: CollectionDescription) -> Iterator[Finding]:
    parameters = description.config.get("params", {})
    unknown = sorted({*parameters} - KNOWN_PARAMETERS | {*description.config} - KNOWN_OPTIONS)
    if unknown:
        yield Finding(
            "qdrant_option_unknown",
            "warning",
            description.name,
            f"options that a restore will not set: {', '.join(unknown)}",
            mend="they are kept in the backup; a newer aeterna-cli may know them",
        )
