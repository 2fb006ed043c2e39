"""Before a backup: is this the right deployment, and will everything that is needed work?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aeterna_cli.deployment import Deployment, repository_identity
from aeterna_cli.errors import AuthenticationError, RefusedError
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.postgres import PostgresIdentity
from aeterna_cli.stores.base.server_control import StoreName

_PRIVILEGES = ("missing_privilege", "rows_hidden", "redis_permission_missing")


@dataclass(frozen=True)
class Preflight:
    """Who the stores are, and what is worth telling. ``identities`` are what pins compare."""

    repository: str
    identities: dict[str, str | None]
    versions: dict[str, str]
    postgres: PostgresIdentity | None
    signing_key: SigningKey
    estimated_bytes: int
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def as_facts(self) -> dict[str, Any]:
        return {
            "repository": self.repository,
            "identities": self.identities,
            "versions": self.versions,
        }


def preflight(place: Deployment, stores: Sequence[StoreName]) -> Preflight:
    """Everything a backup needs is there when this returns; nothing was changed.

    ``RefusedError`` for an uninitialised or foreign repository, another cluster than pinned, a
    signing key that is not the repository's; the stores' own typed errors where one is away.
    """
    repository = place.repository
    key = SigningKey.load(place.signing_key_file)
    if key.public != repository.info.public_key:
        raise RefusedError(
            "signing_key_differs",
            f"{place.signing_key_file} is not the key this repository was made with",
            hint="manifests signed by another key are refused; put the original back",
        )
    identities = repository_identity(repository)
    versions: dict[str, str] = {}
    found: list[Finding] = []
    postgres, size = None, 0
    if "postgres" in stores:
        postgres = place.postgres.identity()
        identities["postgres"] = postgres.system_identifier
        versions["postgres"] = postgres.server_version
        found += place.postgres.findings("backup")
        size += postgres.data_bytes
    if "qdrant" in stores:
        qdrant = place.qdrant.identity()
        identities["qdrant"] = qdrant.identity_key
        versions["qdrant"] = qdrant.version
        found += place.qdrant.findings("backup")
    if "redis" in stores:
        redis = place.redis.identity()
        identities["redis"] = redis.identity_key
        versions["redis"] = f"{redis.flavour} {redis.version}"
        found += place.redis.findings("backup")
        size += redis.used_memory
    place.pins.check(identities)
    _refuse_errors(found)
    notes = tuple(f.message for f in found if f.severity == "warning")
    return Preflight(place.objects.description, identities, versions, postgres, key, size, notes)


def _refuse_errors(found: Sequence[Finding]) -> None:
    """The first error ends it: with exit 6 where a privilege is missing, else 7."""
    for finding in found:
        if finding.severity != "error":
            continue
        kind = AuthenticationError if finding.code in _PRIVILEGES else RefusedError
        raise kind(
            finding.code,
            f"{finding.subject}: {finding.message}",
            hint=finding.mend,
            next_steps=["aeterna-cli doctor"],
        )
