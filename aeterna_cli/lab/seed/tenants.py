"""Who lives in the lab, and what each of their memories is: pure, the same for the same seed."""

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy

DIMENSIONS = 384
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SHARED = "memories-shared"
CROWD = "memory_embeddings"  # the platform's default collection: tenants told apart by payload only
#: 100 characters, the platform's limit, of everything that breaks SQL, LIKE, globs and paths.
HOSTILE = ('o\'neill "100%" *?[a]_\\ ; DROP TABLE x--{t} 名前 é🦀 \u202e' + "ß" * 100)[:100]
LAYERS = ("agent", "user", "session", "project", "team", "org", "company")
WORDS = (
    "prefers concise answers",
    "deploys on Fridays",
    "owns the billing service",
    "reviews Rust",
    "asked for dark mode",
    "runs the nightly import",
    "keeps secrets in the vault",
    "writes runbooks first",
    "reads metrics before logs",
    "speaks Français und 日本語",
    "uses quotes ' and \" and % and * in names",
)
_NAMESPACE = uuid.UUID("8f0e6a52-6c0f-4b7e-9d0a-2b1d3c4e5f60")


@dataclass(frozen=True)
class Tenant:
    """One tenant. ``memories`` have a row and a point; the two orphan numbers have only one."""

    slug: str
    name: str
    collection: str
    shard_key: str | None
    memories: int
    only_points: int  # the platform's API writes memories to Qdrant alone
    only_rows: int  # synchronised rows whose embedding is still to come
    named_by: Literal["id", "slug"] = "id"  # what rows, payloads and keys call this tenant
    status: Literal["active", "inactive"] = "active"

    def id(self, seed: int) -> uuid.UUID:
        return identifier(seed, self.slug, "tenant")

    def key(self, seed: int) -> str:
        """The text that stands for this tenant wherever a column or payload is not a uuid."""
        return self.slug if self.named_by == "slug" else str(self.id(seed))

    @property
    def vacant(self) -> bool:
        """Whether nothing but the row in ``tenants`` was ever made for it."""
        return self.memories + self.only_points + self.only_rows == 0


@dataclass(frozen=True)
class Memory:
    id: str
    content: str
    layer: str
    user: str
    moment: datetime


def tenants(scale: float, extra: int = 0) -> tuple[Tenant, ...]:
    """The lab's tenants; ``scale`` 1 gives about 6,000 memories, at least one each but for the
    vacant one. ``extra`` small ones follow, in the collection that has no shard keys."""

    def many(number: int) -> int:
        return max(1, round(number * scale))

    return (
        Tenant("acme-corp", "Acme Corp", SHARED, "acme-corp", many(900), many(40), many(20)),
        Tenant("acme_corp", "Acme, the other", SHARED, "acme_corp", many(120), 1, 1),
        Tenant("globex", "Globex GmbH", SHARED, "globex", many(500), many(10), many(5)),
        Tenant("initech", "Initech", "aeterna_initech", None, many(60), 2, 0),
        Tenant("umlaut-ag", 'Ümläut "AG" 100%', "aeterna_umlaut-ag", None, many(30), 0, 3),
        Tenant(
            "large-corp", "Large Corp", "memories-large-corp", None, many(4000), many(80), many(60)
        ),
        Tenant("default", "Default", CROWD, None, many(20), 0, 1),
        Tenant("legacy-gmbh", "Legacy GmbH", CROWD, None, many(80), 1, 2, "slug"),
        Tenant(HOSTILE, f"{HOSTILE[:60]} & Söhne", CROWD, None, many(25), 1, 1, "slug"),
        Tenant("vacant-ltd", "Vacant Ltd", CROWD, None, 0, 0, 0),
        Tenant("dormant-inc", "Dormant Inc", CROWD, None, many(15), 0, 0, "id", "inactive"),
        *(_small(number, many(1 + number * number % 23)) for number in range(extra)),
    )


def _small(number: int, count: int) -> Tenant:
    return Tenant(f"small-{number:05}", f"Small {number}", CROWD, None, count, 0, 0)


def identifier(seed: int, *words: object) -> uuid.UUID:
    """The same id for the same words: a lab that is seeded twice is the same lab."""
    return uuid.uuid5(_NAMESPACE, "/".join(map(str, (seed, *words))))


def memories(seed: int, tenant: Tenant) -> Iterator[Memory]:
    """Every memory: first those with row and point, then only points, then only rows."""
    for number in range(tenant.memories + tenant.only_points + tenant.only_rows):
        spread = hashlib.blake2b(f"{seed}/{tenant.slug}/{number}".encode(), digest_size=8).digest()
        words = [WORDS[byte % len(WORDS)] for byte in spread[:3]]
        yield Memory(
            id=str(identifier(seed, tenant.slug, "memory", number)),
            content=f"{tenant.name} #{number}: " + "; ".join(words),
            layer=LAYERS[spread[3] % len(LAYERS)],
            user=str(identifier(seed, tenant.slug, "user", spread[4] % 5)),
            moment=EPOCH + timedelta(seconds=number * 61),
        )


def vectors(seed: int, tenant: Tenant, count: int) -> "numpy.ndarray[Any, Any]":
    """``count`` unit vectors of ``DIMENSIONS`` float32 around a few topics."""
    import numpy as np

    start = int.from_bytes(hashlib.blake2b(f"{seed}/{tenant.slug}".encode()).digest()[:8], "big")
    random = np.random.default_rng(start)
    topics = random.standard_normal((7, DIMENSIONS))
    found = topics[np.arange(count) % 7] + 0.5 * random.standard_normal((count, DIMENSIONS))
    unit: np.ndarray[Any, Any] = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit.astype(np.float32)
