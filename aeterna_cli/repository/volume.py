"""What a manifest says about a volume: enough to fetch, check and open it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aeterna_cli.repository import layout

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0, strict=True)]

_MEDIA = {
    ".tar": "application/x-tar",
    ".ndjson": "application/x-ndjson",
    ".rdb": "application/x-redis-rdb",
    ".json": "application/json",
    ".copy": "application/x-postgresql-copy",
}


class Document(BaseModel):
    """Frozen; fields that this version does not know are kept and written again."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class PartRecord(Document):
    """One stored object: ``size`` bytes of zstd in age."""

    key: str
    size: Size
    sha256: Sha256


class VolumeRecord(Document):
    """A volume: its parts joined are age, inside it zstd, inside that ``plain_bytes`` of ``media``.

    The parts are numbered from 0 without a gap below one prefix that ends with ``name``; anything
    else is a ``ValueError``. ``plain_sha256`` is None where the zstd frame's own checksum has to do
    (``pipeline.SealedWriter``).
    """

    name: str
    media: str
    parts: tuple[PartRecord, ...] = Field(min_length=1)
    plain_bytes: Size
    plain_sha256: Sha256 | None
    stored_bytes: Size

    @model_validator(mode="after")
    def _parts_belong_together(self) -> "VolumeRecord":
        prefix = self.parts[0].key.removesuffix(layout.part_key("", 0))
        if prefix.rpartition("/")[2] != self.name:
            raise ValueError(f"the parts of {self.name} are named otherwise")
        for number, part in enumerate(self.parts):
            if layout.split_part_key(part.key) != (prefix, number):
                raise ValueError(f"{part.key!r} is not part {number} of {self.name}")
        if sum(part.size for part in self.parts) != self.stored_bytes:
            raise ValueError(f"the parts of {self.name} do not add up to its stored size")
        return self


def media_of(name: str) -> str:
    """The media type of a volume's plain bytes, by its name."""
    for suffix, media in _MEDIA.items():
        if name.endswith(suffix):
            return media
    return "application/octet-stream"
