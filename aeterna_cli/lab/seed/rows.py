"""The seed in PostgreSQL: the schema and its rows, in one transaction."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING, Any

from aeterna_cli.lab.part import Place
from aeterna_cli.lab.postgres import DATABASE, OWNER, superuser
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


def write(place: Place, seed: int, scale: float, everyone: Sequence[Tenant]) -> int:
    """All rows or none; how many there are."""
    from psycopg import sql

    with superuser(place, DATABASE) as server, server.transaction():
        server.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        server.execute(_schema())
        server.execute("RESET ROLE")  # the owner may not COPY into a table that forces row security
        count = sum(_copy(server, *table) for table in _tables(seed, everyone))
        mark = MARK + json.dumps({"seed": seed, "scale": scale})
        server.execute(sql.SQL("COMMENT ON TABLE tenants IS {}").format(sql.Literal(mark)))
    return count


def _schema() -> bytes:
    return resources.files("aeterna_cli.lab.seed").joinpath("schema.sql").read_bytes()


def _copy(server: "Connection", table: str, columns: str, rows: Iterable[tuple[Any, ...]]) -> int:
    from psycopg import sql

    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns.split()))
    )
    count = 0
    with server.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def _tables(
    seed: int, everyone: Sequence[Tenant]
) -> Iterator[tuple[str, str, Iterable[tuple[Any, ...]]]]:
    yield (
        "tenants",
        "id slug name created_at",
        [(t.id(seed), t.slug, t.name, EPOCH) for t in everyone],
    )
    yield "users", "id email display_name default_tenant_id created_at", _users(seed, everyone)
    yield (
        "companies",
        "id tenant_id slug name created_at",
        [
            (identifier(seed, t.slug, "company"), t.id(seed), t.slug, t.name, EPOCH)
            for t in everyone
        ],
    )
    yield (
        "tenant_secrets",
        "id tenant_id logical_name ciphertext created_at",
        [
            (identifier(seed, t.slug, "secret"), t.id(seed), "git-token", t.slug.encode(), EPOCH)
            for t in everyone
        ],
    )
    yield (
        "memory_entries",
        "id tenant_id content memory_layer properties device_id importance_score created_at"
        " updated_at",
        _memory_rows(seed, everyone),
    )
    yield (
        "knowledge_items",
        "id tenant_id kind content created_at updated_at",
        _knowledge(seed, everyone),
    )
    yield (
        "governance_events",
        "id tenant_id idempotency_key event_type payload created_at",
        _events(seed, everyone),
    )
    yield (
        "governance_roles",
        "id company_id principal_id role granted_at",
        [
            (
                identifier(seed, t.slug, "role"),
                identifier(seed, t.slug, "company"),
                str(identifier(seed, t.slug, "user", 0)),
                "admin",
                EPOCH,
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
        key = str(tenant.id(seed))
        for number, memory in enumerate(memories(seed, tenant)):
            if tenant.memories <= number < tenant.memories + tenant.only_points:
                continue
            second = int(memory.moment.timestamp())
            properties = json.dumps({"user_id": memory.user, "source": "lab"})
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
            yield key, str(tenant.id(seed)), "adr", text, second + number, second + number


def _events(seed: int, everyone: Sequence[Tenant]) -> Iterator[tuple[Any, ...]]:
    for tenant in everyone:
        for number in range(max(1, tenant.memories // 10)):
            key = identifier(seed, tenant.slug, "event", number)
            payload = json.dumps({"tenant": tenant.slug, "number": number})
            moment = EPOCH + timedelta(minutes=number)
            yield key, tenant.slug, str(key), "policy.checked", payload, moment
