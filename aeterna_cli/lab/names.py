"""The parts of a lab, the ports they need and the names people call them by."""

from collections.abc import Iterable

from aeterna_cli.errors import UsageError

# In the order in which a reader meets them; also the order of every listing.
PARTS = ("postgres", "redis", "s3", "vault", "qdrant")

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
}

# weed's built-in worker dials the admin's gRPC port at this distance whatever the flags say, so the
# port there must be ours as well.
ADMIN_GRPC_DISTANCE = 10_000
COMPANIONS = {"s3-admin": ADMIN_GRPC_DISTANCE}


def port_names(parts: Iterable[str] = PARTS) -> list[str]:
    return [name for part in parts for name in PORTS[part]]


def canonical(part: str) -> str:
    """The part that is meant; ``UsageError('lab_part_unknown')`` for any other word."""
    name = _SPOKEN.get(part.lower(), part.lower())
    if name not in PARTS:
        raise UsageError(
            "lab_part_unknown",
            f"the lab has no part {part!r}",
            hint=f"parts: {', '.join(PARTS)}",
        )
    return name
