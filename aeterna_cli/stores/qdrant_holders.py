"""Which peer has a shard: its snapshots are made and taken only there."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from aeterna_cli.errors import TransientError
from aeterna_cli.stores.qdrant_http import QdrantHttp, part

#: A peer that does not answer by then is left out.
_SECONDS = 5.0


def addresses(http: QdrantHttp) -> Mapping[int, str]:
    """The address of every peer that answers, by its id; empty where ``qdrant.peers`` is.

    Asked once for each connection: ids and addresses belong together for good.
    """
    if len(http.urls) > 1 and not http.peer_addresses:
        for url in http.urls:
            with closing(http.alone(url, _SECONDS)) as one:
                try:
                    peer = one.call("GET", "/cluster").get("peer_id")
                except TransientError:
                    continue
                if peer is not None:
                    http.peer_addresses[int(peer)] = url
    return http.peer_addresses


@contextmanager
def holding(http: QdrantHttp, collection: str, shard: int) -> Iterator[QdrantHttp]:
    """A connection to a peer with an active replica: ``http`` itself where it has one.

    Also where no other address is known to have one: then the server's own refusal is the answer.
    """
    cluster = http.call("GET", f"/collections/{part(collection)}/cluster")
    here = [one for one in cluster["local_shards"] if one["shard_id"] == shard]
    if len(http.urls) < 2 or any(one["state"] == "Active" for one in here):
        yield http
        return
    known = addresses(http)
    holders = [
        known[one["peer_id"]]
        for one in cluster["remote_shards"]
        if one["shard_id"] == shard and one["state"] == "Active" and one["peer_id"] in known
    ]
    if not holders:
        yield http
        return
    with closing(http.alone(holders[0])) as other:
        yield other
