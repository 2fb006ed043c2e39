"""Qdrant's part of a restore: collections made again, shards uploaded, aliases last."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from aeterna_cli.stores.base.qdrant import CollectionDescription, QdrantStore, ShardKey

BLOCK = 1 << 20


@dataclass(frozen=True)
class Image:
    """One image as the manifest names it. ``shard`` None is a logical image of ``key``."""

    collection: str
    shard: int | None
    key: ShardKey | None
    volume: str
    points: int | None
    digest: str | None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Image":
        return cls(**{name: document[name] for name in cls.__dataclass_fields__})


OpenVolume = Callable[[str], Any]  # name -> context manager of a BinaryIO, verified at its end


class QdrantRestore:
    """Restores collection after collection. Each is made anew, so one that was cut off is repeated.

    ``open_volume`` gives a volume's plain bytes by name and raises where they are damaged;
    ``facts_of`` its (size, SHA-256).
    """

    def __init__(
        self,
        server: QdrantStore,
        descriptions: Sequence[CollectionDescription],
        images: Sequence[Image],
        open_volume: OpenVolume,
        facts_of: Callable[[str], tuple[int, str | None]],
    ) -> None:
        self._server = server
        self._descriptions = [one for one in descriptions if one.restorable]
        self._images = images
        self._open = open_volume
        self._facts = facts_of

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(one.name for one in self._descriptions)

    def restore(
        self, done: Sequence[str], finished: Callable[[str], None], stop: Callable[[], None]
    ) -> None:
        """Every collection holds what its images hold when this returns; ``done`` are skipped.

        ``finished`` is told after each; ``stop`` is asked before each and raises to end it.
        """
        for description in self._descriptions:
            if description.name in done:
                continue
            stop()
            self._one(description)
            finished(description.name)

    def point_aliases(self) -> None:
        """Only now does anybody find the collections by their aliases."""
        for description in self._descriptions:
            self._server.set_aliases(description)

    def _one(self, description: CollectionDescription) -> None:
        self._server.create_collection(description, replace=True)
        counts: dict[ShardKey | None, int] = {}
        unknown: set[ShardKey | None] = set()
        for image in self._images:
            if image.collection != description.name:
                continue
            held = self._fill(description, image)
            if held is None:
                unknown.add(image.key)
            else:
                counts[image.key] = counts.get(image.key, 0) + held
        self._server.finish(
            description, {key: count for key, count in counts.items() if key not in unknown}
        )

    def _fill(self, description: CollectionDescription, image: Image) -> int | None:
        """The image is in the collection; how many points it held, None where nobody looked."""
        size, sha256 = self._facts(image.volume)
        with self._open(image.volume) as stream:
            if image.shard is None:
                return self._server.logical_restore(description.name, _blocks(stream))
            self._server.upload_shard(
                description, image.shard, _blocks(stream), size, sha256=sha256
            )
        return image.points


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block
