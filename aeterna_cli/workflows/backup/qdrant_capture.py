"""Qdrant's part of a recovery point: every shard of every collection, and what they really hold."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.qdrant import (
    OPS_COLLECTION,
    CollectionDescription,
    QdrantStore,
    ShardKey,
)

if TYPE_CHECKING:
    from aeterna_cli.repository.pipeline import VolumeRecord
    from aeterna_cli.stores.qdrant_image import ImageFacts
    from aeterna_cli.workflows.backup.volumes import Volumes


@dataclass(frozen=True)
class ShardImage:
    """One captured shard, or one shard key of a logical image. ``facts`` is None where the engine
    that could open it is not installed."""

    collection: str
    shard: int | None
    key: ShardKey | None
    volume: "VolumeRecord"
    facts: "ImageFacts | None"

    def as_document(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "shard": self.shard,
            "key": self.key,
            "volume": self.volume.name,
            "points": self.facts.points if self.facts else None,
            "digest": self.facts.digest if self.facts else None,
        }


@dataclass(frozen=True)
class QdrantCapture:
    """``logical`` names the collections that were read by scroll: no point in time."""

    collections: tuple[CollectionDescription, ...]
    images: tuple[ShardImage, ...]
    logical: tuple[str, ...]

    @property
    def marker(self) -> int | None:
        """The highest marker inside the image of our own collection."""
        found = [i.facts.marker for i in self.images if i.facts and i.facts.marker is not None]
        return max(found, default=None)

    def points(self) -> int | None:
        """How many points were captured, our own not counted; None where nobody could look."""
        counts = [i.facts.points if i.facts else None for i in self.of_tenants()]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def of_tenants(self) -> Iterator[ShardImage]:
        return (image for image in self.images if image.collection != OPS_COLLECTION)


def capture(
    server: QdrantStore, volumes: "Volumes", work: Path, progress: Callable[[int, int], None]
) -> QdrantCapture:
    """Every collection, our own first: nothing in the images is older than the marker in it.

    ``progress`` hears how many collections are done, of how many.
    """
    described = server.describe()
    described.sort(key=lambda one: (one.name != OPS_COLLECTION, one.name))
    images: list[ShardImage] = []
    logical: list[str] = []
    for number, description in enumerate(described):
        progress(number, len(described))
        try:
            images += _snapshots(server, description, number, volumes, work)
        except RefusedError as error:
            if error.code != "snapshots_refused":
                raise
            images += _scrolled(server, description, number, volumes, work)
            logical.append(description.name)
    progress(len(described), len(described))
    return QdrantCapture(tuple(described), tuple(images), tuple(logical))


def _snapshots(
    server: QdrantStore,
    description: CollectionDescription,
    number: int,
    volumes: "Volumes",
    work: Path,
) -> list[ShardImage]:
    missing = [shard.id for shard in description.shards if not shard.local]
    if missing:
        raise RefusedError(
            "shards_elsewhere",
            f"shards {missing} of {description.name} lie on other peers only",
            hint="name the address of every peer in qdrant.peers",
        )
    images = []
    for shard in description.shards:
        # The collection's name stays out of the key: it may hold anything.
        name = f"{number:04d}-{shard.id:04d}.tar"
        copy = work / name
        with ExitStack() as stack:
            chunks = stack.enter_context(server.capture_shard(description.name, shard.id))
            writer = stack.enter_context(volumes.open("qdrant", name))
            file = stack.enter_context(copy.open("wb"))
            for chunk in chunks:
                writer.write(chunk)
                file.write(chunk)
            record = writer.commit()
        facts = _facts(copy, work, name)
        copy.unlink()
        images.append(ShardImage(description.name, shard.id, shard.key, record, facts))
    return images


def _facts(copy: Path, work: Path, name: str) -> "ImageFacts | None":
    from aeterna_cli.stores.qdrant_image import image_facts

    try:
        return image_facts(copy, work, name=name)
    except RefusedError as error:
        if error.code != "qdrant_engine_missing":
            raise
        return None


def _scrolled(
    server: QdrantStore,
    description: CollectionDescription,
    number: int,
    volumes: "Volumes",
    work: Path,
) -> list[ShardImage]:
    """One NDJSON volume per shard key. Not a point in time: said so in the manifest."""
    from aeterna_cli.stores.qdrant_image import logical_facts

    images = []
    for place, key in enumerate(description.shard_keys()):
        name = f"{number:04d}-{place:04d}.ndjson"
        with volumes.open("qdrant", name) as writer:

            def copied(chunks: Iterator[bytes], target: Any = writer) -> Iterator[bytes]:
                for chunk in chunks:
                    target.write(chunk)
                    yield chunk

            facts = logical_facts(
                copied(server.logical_capture(description.name, key)), work, name=name
            )
            record = writer.commit()
        images.append(ShardImage(description.name, None, key, record, facts))
    return images


def ids_of(image: ShardImage) -> Iterator[str]:
    """The ids of one captured image; none where nobody could look."""
    if image.facts is not None:
        with image.facts.ids_path.open(encoding="ascii") as file:
            for line in file:
                yield line.rstrip("\n")
