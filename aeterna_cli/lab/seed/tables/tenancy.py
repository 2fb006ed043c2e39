"""The root: tenants, and what refers to them by uuid."""

from collections.abc import Iterator, Sequence

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.secrets import seal
from aeterna_cli.lab.seed.tables.world import Row, World, each, moment
from aeterna_cli.lab.seed.tenants import Tenant

SECRETS = ("llm_api_key", "git_token")


def tenant_rows(seed: int, everyone: Sequence[Tenant]) -> Rows:
    """All of them, those that have nothing else too."""
    return Rows(
        "tenants",
        "id slug name status source_owner created_at updated_at deactivated_at manifest_generation",
        [_tenant(seed, tenant) for tenant in everyone],
    )


def _tenant(seed: int, tenant: Tenant) -> Row:
    gone = moment(500) if tenant.status == "inactive" else None
    start = (tenant.id(seed), tenant.slug, tenant.name, tenant.status, "admin")
    return (*start, moment(), gone or moment(1), gone, 0 if tenant.vacant else 3)


def rows(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "tenant_domain_mappings",
        "id tenant_id domain verified source created_at updated_at",
        (
            [
                (w.id("mapping", n), w.tenant_id, domain, n == 0, "admin", moment(1), moment(1))
                for n, domain in enumerate((f"{w.host}.example", f"unproven-{w.host}.example"))
            ]
            for w in everyone
        ),
    )
    yield each(
        "tenant_repository_bindings",
        "id tenant_id kind remote_url credential_kind credential_ref created_at updated_at",
        (
            [
                (
                    w.id("binding"),
                    w.tenant_id,
                    "git_remote",
                    f"https://git.{w.host}.example/k.git",
                    "postgres_secret",
                    str(w.id("secret", "git_token")),
                    moment(1),
                    moment(1),
                )
            ]
            for w in everyone
        ),
    )
    yield each(
        "tenant_secrets",
        "id tenant_id logical_name kms_key_id wrapped_dek ciphertext nonce generation created_at"
        " updated_at",
        (_secrets(world) for world in everyone),
    )


def _secrets(world: World) -> list[Row]:
    """References name the row's id: whoever moves or restores a secret keeps it."""
    found: list[Row] = []
    for number, name in enumerate(SECRETS):
        key = world.id("secret", name)
        sealed = seal(world.seed, key, f"{name} of {world.tenant.slug}".encode())
        found.append(
            (
                key,
                world.tenant_id,
                name,
                sealed.kms_key_id,
                sealed.wrapped_dek,
                sealed.ciphertext,
                sealed.nonce,
                number + 1,
                moment(1),
                moment(1 + number),
            )
        )
    return found
