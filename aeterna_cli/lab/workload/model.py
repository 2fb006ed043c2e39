"""What a point is at each of its versions: pure, so that a judge can compute it anew.

A point has a number within its tenant. Every operation on it, a delete too, takes the next version,
so versions order the operations of one point, over deletes and new inserts. ``updated_at`` is
epoch **milliseconds** as an integer: fine enough for a delta of a running move, exact in JSON, and
an integer index serves it. It is stamped when the placement is known, right before the first
attempt of the first write; a retry keeps it, so it is at most ``RETRY_SECONDS`` older than the
moment in which the server applied the write.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy

    Matrix = numpy.ndarray[Any, Any]

Kind = Literal["insert", "update", "payload", "delete"]
#: How long one operation is tried again, in seconds.
RETRY_SECONDS = 10.0
#: What moves and deltas ask for; ``is_tenant`` keeps one tenant's points together on disk.
INDEXES: dict[str, Any] = {
    "tenant_id": {"type": "keyword", "is_tenant": True},
    "version": {"type": "integer", "lookup": True, "range": True},
    "updated_at": {"type": "integer", "lookup": True, "range": True},
}
_CREATED = 1_767_225_600_000  # 2026-01-01 in epoch milliseconds
_WORDS = ("prefers", "quotes \"'", "100 %", "back\\slash", "star *", "Ünïcödé 日本語", "plain")
_GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Operation:
    """``embedded`` is the version whose vector the point has after it: a payload update keeps the
    vector. ``updated_at`` is epoch milliseconds."""

    number: int
    version: int
    kind: Kind
    embedded: int
    updated_at: int

    @property
    def alive(self) -> bool:
        """Whether the point is there afterwards."""
        return self.kind != "delete"


@dataclass(frozen=True)
class Universe:
    """Every point that one tenant can have, at every version."""

    tenant: str
    seed: int
    dimensions: int

    def id(self, number: int) -> str:
        """The point's UUID; no order of numbers shows in it."""
        text = f"{self.seed}/{self.tenant}/{number}".encode()
        return str(uuid.UUID(bytes=hashlib.blake2b(text, digest_size=16).digest(), version=4))

    def content(self, number: int, version: int) -> str:
        word = _WORDS[(number + version) % len(_WORDS)]
        return f"memory {number} as of version {version}: {word}"

    def changing(self, operation: Operation) -> dict[str, Any]:
        """The fields that every write sets."""
        return {
            "version": operation.version,
            "embedded_version": operation.embedded,
            "updated_at": operation.updated_at,
            "content": self.content(operation.number, operation.version),
        }

    def payload(self, operation: Operation) -> dict[str, Any]:
        """The whole payload after an operation that leaves the point there."""
        created = {"tenant_id": self.tenant, "created_at": _CREATED + operation.number}
        return {**created, **self.changing(operation)}

    def vectors(self, numbers: Sequence[int], versions: Sequence[int]) -> "Matrix":
        """Unit vectors, float32, a row for each pair of number and version."""
        import numpy as np

        text = f"{self.seed}/{self.tenant}".encode()
        root = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        keys = np.asarray(numbers, dtype=np.uint64) * np.uint64(0x100000001B3)
        keys = _mixed(keys + np.asarray(versions, dtype=np.uint64) * np.uint64(_GOLDEN))
        steps = np.arange(self.dimensions, dtype=np.uint64) * np.uint64(_GOLDEN)
        grid = _mixed((keys ^ np.uint64(root))[:, None] + steps[None, :])
        found = (grid >> np.uint64(40)).astype(np.float64) / float(1 << 24) - 0.5
        unit: Matrix = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit.astype(np.float32)


def _mixed(values: "Matrix") -> "Matrix":
    """SplitMix64's finaliser: every bit of the input turns half of the output's bits."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Matrix = values ^ (values >> np.uint64(31))
    return mixed


def share(seed: int, *words: object) -> float:
    """A number in [0, 1) that is the same for the same words."""
    text = "/".join(map(str, (seed, *words))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big") / float(1 << 56)
