"""Order-independent digests of points, equal for one point wherever it is read.

A point's hash covers its id, every vector by name (float32, little endian) and its payload as JSON
with sorted keys. A digest is the sum of the hashes modulo 2**256: the digests of shards add up to
the collection's, and no order or page size matters. The engine, the REST API and our NDJSON all
give stored (for Cosine: normalised) vectors whose float32 bits survive JSON's shortest text.
It detects accidents; against malice stand the signed manifest's SHA-256 sums.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from aeterna_cli.stores.base.qdrant import PointDigest

_MODULUS = 1 << 256


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def _floats(values: Iterable[float]) -> bytes:
    numbers = list(values)
    return struct.pack(f"<I{len(numbers)}f", len(numbers), *numbers)


def _vector(value: Any) -> bytes:
    """One vector, its kind first so that no two kinds can be mistaken for each other."""
    if isinstance(value, Mapping):
        pairs = sorted(zip(value["indices"], value["values"], strict=True))
        indices = struct.pack(f"<{len(pairs)}I", *(index for index, _ in pairs))
        return b"s" + _floats(weight for _, weight in pairs) + indices
    rows = list(value)
    if rows and isinstance(rows[0], list | tuple):
        return b"m" + struct.pack("<I", len(rows)) + b"".join(_floats(row) for row in rows)
    return b"d" + _floats(rows)


def _vectors(value: Any) -> bytes:
    """All vectors of a point; the unnamed one is named ``""``."""
    if value is None:
        named: Mapping[str, Any] = {}
    elif isinstance(value, Mapping):
        named = value
    else:
        named = {"": value}
    parts = [_text(name) + _vector(named[name]) for name in sorted(named)]
    return struct.pack("<I", len(parts)) + b"".join(parts)


def _identifier(value: int | str | UUID) -> bytes:
    if isinstance(value, int):
        return b"i" + struct.pack("<Q", value)
    return b"u" + (value if isinstance(value, UUID) else UUID(value)).bytes


def point_hash(identifier: int | str | UUID, vectors: Any, payload: Any) -> int:
    """One point's hash. ``vectors`` and ``payload`` are as the REST API gives them.

    ``ValueError``, ``TypeError``, ``KeyError`` or ``struct.error`` for what is no point.
    """
    body = orjson.dumps(payload or {}, option=orjson.OPT_SORT_KEYS)
    data = _identifier(identifier) + _vectors(vectors) + body
    return int.from_bytes(hashlib.blake2b(data, digest_size=32).digest(), "little")


@dataclass
class DigestSum:
    """Adds up points, one at a time."""

    points: int = 0
    total: int = 0

    def add(self, identifier: int | str | UUID, vectors: Any, payload: Any) -> None:
        self.total = (self.total + point_hash(identifier, vectors, payload)) % _MODULUS
        self.points += 1

    def result(self) -> PointDigest:
        return PointDigest(self.points, f"{self.total:064x}")


def combine(digests: Iterable[PointDigest]) -> PointDigest:
    """The digest of the union of disjoint sets of points, as of a collection's shards."""
    points = total = 0
    for digest in digests:
        points += digest.points
        total += int(digest.digest, 16)
    return PointDigest(points, f"{total % _MODULUS:064x}")
