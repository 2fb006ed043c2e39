"""The schemas that real databases have: complete, or stuck where migrations are known to fail.

Source: the platform's start-up code and migration files at 0.8.0-rc.12. The server first makes 27
tables itself, then runs the files 003 to 035 by number and stops at the first error.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Literal, get_args

SchemaName = Literal["complete", "fresh-rc12", "no-bypass"]
SCHEMA_NAMES: tuple[SchemaName, ...] = get_args(SchemaName)

_INLINE = ("10_inline_data", "11_inline_governance", "20_events_and_summaries")
_TO_024 = (
    "30_referential",
    "31_referential_triggers",
    "32_approvals",
    "33_codesearch_and_decomposition",
)
_AFTER = ("50_tenant_scope", "60_lazy", "61_idp_sync")

#: The platform's migration files by number, from 003 on.
MIGRATIONS = (
    "create_memory_tables",
    "enable_rls",
    "drift_tuning",
    "event_streaming",
    "cca_summaries",
    "hindsight_tables",
    "organizational_referential",
    "governance_workflow",
    "meta_governance",
    "decomposition_weights",
    "referential_integrity",
    "grepai_repo_management",
    "add_device_id_to_memory",
    "governance_rls",
    "tenants_tables",
    "add_last_accessed_at",
    "day2_operations_tables",
    "fix_codesearch_views",
    "add_user_idp_columns",
    "drop_dead_vector_columns",
    "platform_admin_impersonation",
    "normalize_rls_session_variables",
    "add_app_roles",
    "tenant_secrets",
    "tenant_manifest_state",
    "tenant_scoped_hierarchy",
    "agents_tenant_scope",
    "audit_context",
    "provisioning_idempotency",
    "tenant_delete_cascade",
    "tenant_legal_entity",
    "graph_events",
    "organizational_units_timestamps",
)
FIRST_MIGRATION = 3


@dataclass(frozen=True)
class Schema:
    """SQL files in the order they ran; ``last`` is the last migration that the database records.

    ``roles``: whether migration 025 ran, which needs a superuser, and when.
    """

    before_roles: tuple[str, ...]
    roles: bool
    after_roles: tuple[str, ...]
    last: int

    def migrations(self) -> Iterator[tuple[int, str, str]]:
        """Number, file name, and a stand-in for the checksum of the file, which we do not have."""
        for version, title in enumerate(MIGRATIONS, FIRST_MIGRATION):
            if version <= self.last:
                name = f"{version:03}_{title}.sql"
                yield version, name, hashlib.sha256(name.encode()).hexdigest()


SCHEMAS: dict[SchemaName, Schema] = {
    # All 33 files, the lazily made tables and idp-sync's: 63 tables.
    "complete": Schema(_INLINE + _TO_024, True, _AFTER, 35),
    # A new installation of rc.10 to rc.12: 009 fails on a timestamptz. 32 tables, and none of
    # users, companies, agents.
    "fresh-rc12": Schema(_INLINE, False, (), 8),
    # An rc.9 installation whose owner is no superuser, as a chart makes it: 025 may not create a
    # BYPASSRLS role. No aeterna_admin, nothing granted, no secrets, companies without a tenant.
    "no-bypass": Schema((*_INLINE, "21_units_before_035", *_TO_024), False, (), 24),
}


def statements(name: str) -> bytes:
    """The text of one SQL file, without its ``.sql``."""
    folder = resources.files("aeterna_cli.lab.seed").joinpath("schema")
    return folder.joinpath(f"{name}.sql").read_bytes()


ROLES = "40_roles"
