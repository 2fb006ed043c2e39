"""The parts of a lab, the ports they need and the names people call them by."""

from collections.abc import Iterable
from typing import Literal

from aeterna_cli.errors import UsageError

# In the order in which a reader meets them; also the order of every listing.
PARTS = ("postgres", "redis", "s3", "vault", "qdrant")

POSTGRES_NODES = ("postgres-1", "postgres-2", "postgres-3")
REDIS_NODES = ("redis-1", "redis-2", "redis-3")
SENTINELS = ("sentinel-1", "sentinel-2", "sentinel-3")
#: the same of a highly-available lab
HA_PARTS = (*POSTGRES_NODES, *REDIS_NODES, *SENTINELS, "s3", "vault", "qdrant-peers")
QDRANT_PEERS = ("qdrant", "qdrant-2", "qdrant-3")  # ports of the one process

Topology = Literal["single", "ha"]
PARTS_OF: dict[Topology, tuple[str, ...]] = {"single": PARTS, "ha": HA_PARTS}

_SPOKEN = {
    "postgresql": "postgres",
    "valkey": "redis",
    "seaweedfs": "s3",
    "openbao": "vault",
}

TITLES = {
    "postgres": "PostgreSQL",
    "redis": "Valkey",
    "s3": "SeaweedFS",
    "vault": "OpenBao",
    "qdrant": "Qdrant-compatible server",
    "qdrant-peers": "Qdrant-compatible server, three emulated peers",
    **{name: f"PostgreSQL {name[-1]} under Patroni" for name in POSTGRES_NODES},
    **{name: f"Valkey {name[-1]}" for name in REDIS_NODES},
    **{name: f"Sentinel {name[-1]}" for name in SENTINELS},
}

PORTS: dict[str, tuple[str, ...]] = {
    "postgres": ("postgres",),
    "redis": ("redis",),
    "s3": (
        "s3",
        "s3-grpc",
        "s3-master",
        "s3-master-grpc",
        "s3-volume",
        "s3-volume-grpc",
        "s3-filer",
        "s3-filer-grpc",
        "s3-webdav",
        "s3-admin",
    ),
    "vault": ("vault", "vault-cluster"),
    "qdrant": ("qdrant",),
    "qdrant-peers": QDRANT_PEERS,
    **{name: (name, f"{name}-rest", f"{name}-raft") for name in POSTGRES_NODES},
    **{name: (name,) for name in (*REDIS_NODES, *SENTINELS)},
}

# weed's built-in worker dials the admin's gRPC port at this distance whatever the flags say, so the
# port there must be ours as well.
ADMIN_GRPC_DISTANCE = 10_000
COMPANIONS = {"s3-admin": ADMIN_GRPC_DISTANCE}


def port_names(parts: Iterable[str]) -> list[str]:
    return [name for part in parts for name in PORTS[part]]


def canonical(part: str) -> str:
    """The part that is meant; ``UsageError('lab_part_unknown')`` for any other word."""
    name = _SPOKEN.get(part.lower(), part.lower())
    if name not in TITLES:
        raise UsageError(
            "lab_part_unknown",
            f"the lab has no part {part!r}",
            hint=f"parts: {', '.join(PARTS)}; highly available: {', '.join(HA_PARTS)}",
        )
    return name
