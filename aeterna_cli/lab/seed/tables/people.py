"""Persons, what they belong to, the agents that act for them, and the logs that copy them."""

from collections.abc import Iterator, Sequence
from typing import Any

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.tables.hierarchy import DEFAULT, ROOT
from aeterna_cli.lab.seed.tables.world import TWO_TENANTS, Row, World, each, moment

_LEFT = 4  # this person of every tenant is soft-deleted


def rows(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "users",
        "id email name avatar_url idp_provider idp_subject status last_login_at settings created_at"
        " updated_at deleted_at first_name last_name display_name is_active deactivated_at"
        " default_tenant_id",
        (_users(world) for world in everyone),
    )
    yield Rows(
        "memberships",
        "id user_id team_id role permissions status created_at updated_at",
        [*(row for w in everyone for row in _memberships(w)), *_second_membership(everyone)],
    )
    yield Rows(
        "user_roles",
        "user_id tenant_id unit_id role created_at",
        [*(row for w in everyone for row in _roles(w)), *_instance_roles(everyone)],
    )
    yield each(
        "agents",
        "id name agent_type delegated_by_user_id delegated_by_agent_id delegation_depth"
        " capabilities allowed_company_ids allowed_team_ids status created_at updated_at"
        " deleted_at tenant_id",
        (_agents(world) for world in everyone),
    )
    yield each(
        "referential_audit_log",
        "id entity_type entity_id action old_values new_values actor_type actor_id actor_email"
        " ip_address user_agent created_at acting_as_tenant_id",
        (_copies(world) for world in everyone),
    )


def _users(world: World) -> list[Row]:
    found: list[Row] = []
    for number, person in enumerate(world.people):
        left = moment(72) if number == _LEFT else None
        local = number == 3  # without an identity provider
        found.append(
            (
                person.id,
                person.email,
                person.name,
                f"https://avatars.example/{person.id}.png",
                None if local else "okta",
                None if local else f"okta|{person.id.hex}",
                "inactive" if left else "active",
                moment(24 + number),
                {"theme": "dark", "phone": f"+49 30 {world.place:05}{number}"},
                moment(1),
                left or moment(2),
                left,
                person.first,
                person.last,
                f"User {number} of {world.tenant.name}",
                left is None,
                left,
                None if number == 2 else world.tenant_id,
            )
        )
    return found


def _memberships(world: World) -> list[Row]:
    pairs = [(0, 0), (1, 0), (2, 0), (3, 1), (_LEFT, 1)]
    return [
        (
            world.id("membership", user, team),
            world.person(user).id,
            world.team(team),
            "admin" if user == 0 else "developer",
            ["memory:read"],
            "inactive" if user == _LEFT else "active",
            moment(1),
            moment(1),
        )
        for user, team in pairs
    ]


def _of_two(everyone: Sequence[World]) -> tuple[World, World]:
    by_slug = {world.tenant.slug: world for world in everyone}
    home, other = TWO_TENANTS
    return by_slug[home], by_slug[other]


def _second_membership(everyone: Sequence[World]) -> list[Row]:
    home, other = _of_two(everyone)
    key = other.id("membership", "guest")
    return [
        (key, home.person(0).id, other.team(0), "viewer", [], "active", moment(5), moment(5)),
    ]


def _roles(world: World) -> list[Row]:
    return [
        (str(person.id), world.key, unit, role, moment(1))
        for person, unit, role in (
            (world.person(0), str(world.unit_company), "Admin"),
            (world.person(1), world.unit_team, "TechLead"),
            (world.person(2), world.unit_project, "Developer"),
        )
    ]


def _instance_roles(everyone: Sequence[World]) -> list[Row]:
    """The bootstrap's rows, and the person of two tenants."""
    home, other = _of_two(everyone)
    admin = str(home.person(0).id)
    return [
        (admin, ROOT, ROOT, "PlatformAdmin", moment()),
        (admin, DEFAULT, DEFAULT, "Admin", moment()),
        (admin, other.key, str(other.unit_company), "Viewer", moment(5)),
    ]


def _agents(world: World) -> list[Row]:
    """One for a person, one for that agent, and a revoked one that has lost its tenant."""
    first = world.id("agent")
    shape: list[tuple[Any, ...]] = [
        (first, "planner", world.person(0).id, None, 1, "active", None, world.tenant_id),
        (world.id("agent", 1), "coder", None, first, 2, "active", None, world.tenant_id),
        (world.id("agent", 2), "old", world.person(1).id, None, 1, "revoked", moment(50), None),
    ]
    return [
        (
            key,
            name,
            "opencode",
            user,
            agent,
            depth,
            ["memory:read"],
            [world.company],
            [world.team(0)],
            status,
            moment(2),
            moment(3),
            deleted,
            tenant,
        )
        for key, name, user, agent, depth, status, deleted, tenant in shape
    ]


def _copies(world: World) -> list[Row]:
    """What the trigger left when a person was changed, and what an administrator's action did."""
    person = world.person(1)
    before = {"id": str(person.id), "email": f"old-{person.email}", "name": person.name}
    after = before | {"email": person.email}
    boss = world.person(0)
    return [
        (
            world.id("copy", 0),
            "users",
            person.id,
            "update",
            before,
            after,
            "system",
            None,
            None,
            None,
            None,
            moment(30),
            None,
        ),
        (
            world.id("copy", 1),
            "users",
            person.id,
            "update",
            before,
            after,
            "user",
            boss.id,
            boss.email,
            f"192.0.2.{world.place % 250 + 1}",
            "Mozilla/5.0",
            moment(31),
            world.tenant_id,
        ),
    ]
