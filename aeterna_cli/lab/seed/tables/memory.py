"""Memories, knowledge, and what is derived from them: the tables that are as large as a tenant."""

import hashlib
from collections.abc import Iterator, Sequence

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.tables.world import Row, World, each, moment
from aeterna_cli.lab.seed.tenants import memories

_FORGOTTEN = 17  # every so many memories are soft-deleted


def rows(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "memory_entries",
        "id tenant_id content memory_layer properties device_id importance_score created_at"
        " updated_at deleted_at last_accessed_at summaries summary_updated_at",
        (_memories(world) for world in everyone),
    )
    yield each(
        "knowledge_items",
        "id tenant_id type title content tags properties created_at updated_at summaries",
        (_knowledge(world) for world in everyone),
    )
    yield each(
        "layer_summary_cache",
        "id tenant_id memory_layer entry_id depth content token_count source_hash personalized"
        " personalization_context generated_at expires_at",
        (_summaries(world) for world in everyone),
    )
    yield _errors(everyone)
    yield from _hindsight(everyone)
    yield from _graph(everyone)


def _memories(world: World) -> Iterator[Row]:
    tenant = world.tenant
    people = {str(person.id): person for person in world.people}
    for number, memory in enumerate(memories(world.seed, tenant)):
        if tenant.memories <= number < tenant.memories + tenant.only_points:
            continue
        properties = {"user_id": memory.user, "source": "lab"}
        if number % 3 == 0:
            properties["author_email"] = people[memory.user].email
        forgotten = memory.moment if number % _FORGOTTEN == _FORGOTTEN - 1 else None
        yield (
            memory.id,
            world.key,
            memory.content,
            memory.layer,
            properties,
            f"device-{number % 3}",
            (number % 100) / 100,
            memory.moment,
            memory.moment,
            forgotten,
            memory.moment if number % 2 else None,
            {"short": memory.content[:40]} if number % 5 == 0 else {},
            memory.moment if number % 5 == 0 else None,
        )


def _knowledge(world: World) -> Iterator[Row]:
    for number in range(max(1, world.tenant.memories // 20)):
        author = world.person(number % 5)
        title = f"Decision {number}"
        text = f"{world.tenant.name}: decision {number}, ask {author.name}"
        data = {"author": author.email, "created_by": str(author.id)}
        key = str(world.id("knowledge", number))
        start = (key, world.key, "adr", title, text, ["lab", 'a "quoted, tag"'], data)
        yield (*start, moment(number), moment(number), {"short": title})


def _summaries(world: World) -> Iterator[Row]:
    first = next(memories(world.seed, world.tenant))
    digest = hashlib.sha256(first.content.encode()).hexdigest()
    for depth, personal in (("short", False), ("detailed", True)):
        yield (
            str(world.id("summary", depth)),
            world.key,
            first.layer,
            first.id,
            depth,
            f"{depth}: {first.content}",
            len(first.content) // 4,
            digest,
            personal,
            first.user if personal else None,
            moment(3),
            moment(2000) if personal else None,
        )


def _errors(everyone: Sequence[World]) -> Rows:
    when = (moment(4), moment(5))
    return each(
        "error_signatures",
        "id tenant_id error_type message_pattern stack_patterns context_patterns embedding"
        " first_seen_at last_seen_at created_at updated_at",
        (
            [
                (
                    str(w.id("error")),
                    w.key,
                    "Timeout",
                    "timed out after %ds",
                    ["at main"],
                    [],
                    [0.1],
                    *when,
                    *when,
                )
            ]
            for w in everyone
        ),
    )


def _hindsight(everyone: Sequence[World]) -> Iterator[Rows]:
    when = (moment(4), moment(5))
    yield each(
        "resolutions",
        "id tenant_id error_signature_id description changes last_success_at created_at updated_at",
        (
            [
                (
                    str(w.id("fix")),
                    w.key,
                    str(w.id("error")),
                    "raise the limit",
                    ["limit=30"],
                    moment(6),
                    *when,
                )
            ]
            for w in everyone
        ),
    )
    yield each(
        "hindsight_notes",
        "id tenant_id error_signature_id content tags resolution_ids created_at updated_at",
        (
            [
                (
                    str(w.id("note")),
                    w.key,
                    str(w.id("error")),
                    f"{w.person(1).name} saw it first",
                    ["timeout"],
                    [str(w.id("fix"))],
                    *when,
                )
            ]
            for w in everyone
        ),
    )


def _graph(everyone: Sequence[World]) -> Iterator[Rows]:
    """Nodes of all tenants have the same ids: only (id, tenant_id) tells them apart."""
    yield each(
        "graph_nodes",
        "id tenant_id label properties created_at",
        (
            [
                (f"node-{n}", w.key, "Person", {"name": w.person(n).name}, moment(n))
                for n in range(w.several + 1)
            ]
            for w in everyone
        ),
    )
    yield each(
        "graph_edges",
        "id tenant_id source_id target_id relation properties created_at",
        (
            [
                (f"edge-{n}", w.key, f"node-{n}", f"node-{n + 1}", "knows", {}, moment(n))
                for n in range(w.several)
            ]
            for w in everyone
        ),
    )
