"""The rest of the census: every key in one SCAN, every object in one listing of each bucket."""

from collections.abc import Mapping
from typing import Any

from aeterna_cli.stores.base.tenant_counts import Judged, Tally, Volume
from aeterna_cli.workflows.datamap.build import keys_of, objects_of
from aeterna_cli.workflows.tenant.census import Census, Nobody, Share, Surroundings

_WHYS = {
    "nobody": "the deployment's own",
    "index": "an index of keys",
    "ours": "this tool's",
    "unknown": "no such tenant",
    "ambiguous": "may be two tenants'",
    "unreadable": "its value cannot be read",
}


class _Several:
    """How much too often things of several tenants are in their shares."""

    def __init__(self) -> None:
        self.extra = 0

    def hear(self, _thing: Any, judged: Judged) -> None:
        if judged.holder == "several":
            self.extra += len(judged.tenants) - 1


def count_keys(around: Surroundings, census: Census) -> None:
    around.told("counting keys", 0, 1, "passes")
    heard = _Several()
    judge = keys_of(census.rules, census.tenants)
    tally = around.place.redis_tenants().tally(judge, each=heard.hear, stop=around.stopped)
    census.keys = tally

    def share(volume: Volume) -> Share:
        return Share(keys=volume.count, key_bytes=volume.bytes)

    _share_out(census, tally, share, "key")
    again = (
        sum(tally.of(one.id).bytes for one in census.tenants) + _bytes(tally) - tally.total.bytes
    )
    census.several.add(Share(keys=heard.extra, key_bytes=again))


def count_objects(around: Surroundings, census: Census) -> None:
    judge = objects_of(census.rules, census.tenants)
    stores = around.place.application_objects()

    def share(volume: Volume) -> Share:
        return Share(objects=volume.count, object_bytes=volume.bytes)

    for store in around.each("counting objects", stores, "buckets"):
        tally = store.tally(judge, stop=around.stopped)
        census.objects[store.name] = tally
        _share_out(census, tally, share, f"object in {store.name}")


def _share_out(census: Census, tally: Tally, share: Any, kind: str) -> None:
    for tenant, volumes in tally.by_tenant.items():
        for volume in volumes.values():
            census.share(tenant).add(share(volume))
    for nobody, volume in strangers(tally, kind).items():
        census.share(nobody).add(share(volume))
    census.total.add(share(tally.total))


def strangers(tally: Tally, kind: str) -> Mapping[Nobody, Volume]:
    """What no tenant has."""
    found: dict[Nobody, Volume] = {}
    for holder, volumes in tally.others.items():
        for rule, volume in volumes.items():
            found[Nobody(rule, f"{kind}: {_WHYS.get(holder, holder)}")] = volume
    for form, sampled in tally.unclassified.items():
        found[Nobody(form, f"{kind}: unclassified")] = sampled.volume
    return found


def _bytes(tally: Tally) -> int:
    return sum(volume.bytes for volume in strangers(tally, "").values())
