"""A tenant's points into volumes: with vectors, from every collection that holds some."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aeterna_cli.deployment import Deployment
from aeterna_cli.repository.volume import VolumeRecord
from aeterna_cli.workflows.tenant.archive import POINTS, ArchivedCollection
from aeterna_cli.workflows.tenant.whereabouts import Selections, Whereabouts, placed_at

if TYPE_CHECKING:
    from aeterna_cli.datamap.collections import PointSelection
    from aeterna_cli.stores.base.qdrant import CollectionDescription
    from aeterna_cli.stores.qdrant_slice import QdrantSlice
    from aeterna_cli.workflows.backup.volumes import Volumes

Captured = tuple[tuple[ArchivedCollection, ...], tuple[VolumeRecord, ...], Selections]


def capture(
    place: Deployment,
    whereabouts: Whereabouts,
    volumes: "Volumes",
    check: Callable[[], None],
    progress: Callable[[int, int], None],
) -> Captured:
    """One NDJSON volume for each collection with points of the tenant; not a point in time.

    A collection of the tenant alone is archived even where it is empty, so that it can be made
    again.
    """
    from aeterna_cli.stores.qdrant_slice import QdrantSlice

    described = {one.name: one for one in place.qdrant.describe()}
    selections = whereabouts.selections(tuple(described.values()))
    primary = placed_at(place, whereabouts.tenant)
    placed = primary.collection if primary is not None else None
    found: list[tuple[ArchivedCollection, VolumeRecord]] = []
    with QdrantSlice(place.profile.qdrant, check) as server:
        for number, selection in enumerate(selections.mine):
            progress(number, len(selections.mine))
            captured = _one(
                server,
                described[selection.collection],
                selection,
                volumes,
                f"{number:04d}.ndjson",
                placed=selection.collection == placed,
            )
            if captured is not None:
                found.append(captured)
    progress(len(selections.mine), len(selections.mine))
    return tuple(one for one, _ in found), tuple(record for _, record in found), selections


def _one(
    server: "QdrantSlice",
    description: "CollectionDescription",
    selection: "PointSelection",
    volumes: "Volumes",
    name: str,
    *,
    placed: bool,
) -> tuple[ArchivedCollection, VolumeRecord] | None:
    from aeterna_cli.stores.qdrant_digests import DigestSum
    from aeterna_cli.stores.qdrant_slice import as_line

    digest = DigestSum()
    with volumes.open(POINTS, name) as writer:
        for point in server.points(selection):
            digest.add(point["id"], point["vector"], point["payload"])
            writer.write(as_line(point))
        result = digest.result()
        if not result.points and not selection.whole:
            return None  # nothing was committed: the volume is no part of the backup
        record = writer.commit()
    archived = ArchivedCollection(
        description=description,
        whole=selection.whole,
        certain=selection.certain,
        placed=placed,
        volume=name,
        points=result.points,
        digest=result.digest,
    )
    return archived, record
