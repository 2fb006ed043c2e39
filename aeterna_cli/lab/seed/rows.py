"""The seed in PostgreSQL: the schema and its rows, in one transaction."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aeterna_cli.lab.part import Place
from aeterna_cli.lab.postgres import DATABASE, OWNER, superuser
from aeterna_cli.lab.seed.load import (
    Rows,
    advance_sequences,
    copy,
    shapes,
    triggers_off,
    triggers_on,
    verify_references,
)
from aeterna_cli.lab.seed.schemas import ROLES, SCHEMAS, Schema, SchemaName, statements
from aeterna_cli.lab.seed.tenants import EPOCH, Tenant, identifier, memories

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

MARK = "aeterna lab seed"


def seeded(place: Place) -> dict[str, Any] | None:
    """The seed and scale this database was filled with; None for one that was not."""
    with superuser(place, DATABASE) as server:
        found = server.execute(
            "SELECT obj_description(to_regclass('public.tenants'), 'pg_class')"
        ).fetchone()
    text = found[0] if found else None
    if not isinstance(text, str) or not text.startswith(MARK):
        return None
    parameters: dict[str, Any] = json.loads(text.removeprefix(MARK))
    return parameters


def occupied(place: Place) -> bool:
    """Whether somebody's tables are there."""
    with superuser(place, DATABASE) as server:
        found = server.execute(
            "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'public' LIMIT 1"
        ).fetchone()
    return found is not None


def write(
    place: Place,
    seed: int,
    scale: float,
    everyone: Sequence[Tenant],
    *,
    extra: int = 0,
    schema: SchemaName = "complete",
    database: str = DATABASE,
) -> int:
    """Schema and rows, all or none; how many rows there are."""
    from psycopg import sql

    wanted = SCHEMAS[schema]
    with superuser(place, database) as server, server.transaction():
        _create(server, wanted)
        known = shapes(server)
        triggers_off(server)
        count = sum(copy(server, known, rows) for rows in _tables(seed, everyone, wanted))
        triggers_on(server)
        verify_references(server)
        advance_sequences(server, known)
        mark = MARK + json.dumps(parameters(seed, scale, extra, schema))
        server.execute(sql.SQL("COMMENT ON TABLE public.tenants IS {}").format(sql.Literal(mark)))
    return count


def parameters(seed: int, scale: float, extra: int, schema: SchemaName) -> dict[str, Any]:
    """What a database remembers of how it was seeded."""
    return {"seed": seed, "scale": scale, "tenants": extra, "schema": schema}


def _create(server: "Connection", schema: Schema) -> None:
    """The owner's tables, and a superuser's roles where migration 025 could make them."""
    from psycopg import sql

    owner = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER))
    server.execute(owner)
    for name in schema.before_roles:
        server.execute(statements(name))
    server.execute("RESET ROLE")
    if schema.roles:
        server.execute(statements(ROLES))
    server.execute(owner)
    for name in schema.after_roles:
        server.execute(statements(name))
    server.execute("RESET ROLE")


def _tables(seed: int, everyone: Sequence[Tenant], schema: Schema) -> Iterator[Rows]:
    yield Rows("_aeterna_migrations", "version name checksum", schema.migrations())
    yield Rows(
        "tenants",
        "id slug name created_at",
        [(t.id(seed), t.slug, t.name, EPOCH) for t in everyone],
    )
    yield Rows(
        "users", "id email display_name default_tenant_id created_at", _users(seed, everyone)
    )
    yield Rows(
        "companies",
        "id tenant_id slug name created_at",
        [
            (identifier(seed, t.slug, "company"), t.id(seed), t.slug, t.name, EPOCH)
            for t in everyone
        ],
    )
    yield Rows(
        "tenant_secrets",
        "id tenant_id logical_name ciphertext created_at kms_key_id wrapped_dek nonce",
        [
            (
                identifier(seed, t.slug, "secret"),
                t.id(seed),
                "git-token",
                t.slug.encode(),
                EPOCH,
                "x",
                b"x",
                b"x",
            )
            for t in everyone
        ],
    )
    yield Rows(
        "memory_entries",
        "id tenant_id content memory_layer properties device_id importance_score created_at"
        " updated_at",
        _memory_rows(seed, everyone),
    )
    yield Rows(
        "knowledge_items",
        "id tenant_id type title content created_at updated_at",
        _knowledge(seed, everyone),
    )
    yield Rows(
        "governance_events",
        "id event_id tenant_id idempotency_key event_type payload created_at",
        _events(seed, everyone),
    )
    yield Rows(
        "governance_roles",
        "id company_id principal_id role granted_at principal_type granted_by",
        [
            (
                identifier(seed, t.slug, "role"),
                identifier(seed, t.slug, "company"),
                str(identifier(seed, t.slug, "user", 0)),
                "admin",
                EPOCH,
                "user",
                identifier(seed, t.slug, "user", 0),
            )
            for t in everyone
        ],
    )


def _users(seed: int, everyone: Sequence[Tenant]) -> Iterator[tuple[Any, ...]]:
    for tenant in everyone:
        for number in range(5):
            key = identifier(seed, tenant.slug, "user", number)
            mail = f"user{number}@{tenant.slug}.example"
            yield key, mail, f"User {number} of {tenant.name}", tenant.id(seed), EPOCH


def _memory_rows(seed: int, everyone: Sequence[Tenant]) -> Iterator[tuple[Any, ...]]:
    for tenant in everyone:
        key = tenant.key(seed)
        for number, memory in enumerate(memories(seed, tenant)):
            if tenant.memories <= number < tenant.memories + tenant.only_points:
                continue
            second = int(memory.moment.timestamp())
            properties = {"user_id": memory.user, "source": "lab"}
            yield (
                memory.id,
                key,
                memory.content,
                memory.layer,
                properties,
                f"device-{number % 3}",
                (number % 100) / 100,
                second,
                second,
            )


def _knowledge(seed: int, everyone: Sequence[Tenant]) -> Iterator[tuple[Any, ...]]:
    second = int(EPOCH.timestamp())
    for tenant in everyone:
        for number in range(max(1, tenant.memories // 20)):
            key = str(identifier(seed, tenant.slug, "knowledge", number))
            text = f"{tenant.name}: decision {number}"
            yield key, tenant.key(seed), "adr", text, text, second + number, second + number


def _events(seed: int, everyone: Sequence[Tenant]) -> Iterator[tuple[Any, ...]]:
    for tenant in everyone:
        for number in range(max(1, tenant.memories // 10)):
            key = identifier(seed, tenant.slug, "event", number)
            payload = {"tenant": tenant.slug, "number": number}
            moment = EPOCH + timedelta(minutes=number)
            yield key, str(key), tenant.key(seed), str(key), "policy.checked", payload, moment
