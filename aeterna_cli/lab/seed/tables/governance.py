"""Governance.

Its scope uuids come from three id spaces: the newer hierarchy, the older one's ids as uuids (the
platform's API writes those), and uuid v5 of a unit's id (the identity provider's synchronisation).
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.tables.world import Row, World, counted, each, moment
from aeterna_cli.lab.seed.tenants import EPOCH


def rows(everyone: Sequence[World]) -> Iterator[Rows]:
    yield from _configured(everyone)
    yield from _meta(everyone)
    yield from _approvals(everyone)
    yield from _decided(everyone)
    yield from _agents_asked(everyone)
    yield each(
        "governance_audit_log",
        "id action request_id target_type target_id actor_type actor_id actor_email details"
        " old_values new_values created_at acting_as_tenant_id admin_scope via",
        (_audit(world) for world in everyone),
    )
    yield from _events(everyone)


def _configured(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "governance_configs",
        "id company_id org_id escalation_contact policy_settings created_at updated_at",
        (
            [
                (w.id("config", 0), w.company, None, w.person(0).email, {}, moment(2), moment(2)),
                (w.id("config", 1), w.unit_company, None, None, {}, moment(2), moment(2)),
                (w.id("config", 2), None, w.organization, None, {}, moment(2), moment(2)),
            ]
            for w in everyone
        ),
    )
    yield each(
        "governance_roles",
        "id principal_type principal_id role company_id team_id granted_by granted_at revoked_at"
        " revoked_by",
        (_roles(world) for world in everyone),
    )


def _meta(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "meta_governance_policies",
        "id layer scope_id min_role_for_governance agent_delegation escalation_config created_at"
        " updated_at created_by",
        (
            [
                (
                    w.id("meta", n),
                    layer,
                    scope,
                    "admin",
                    {"autonomous_enabled": False},
                    {},
                    moment(2),
                    moment(2),
                    w.person(0).id,
                )
                for n, (layer, scope) in enumerate(
                    (("company", w.company), ("team", w.synchronised_team))
                )
            ]
            for w in everyone
        ),
    )


def _roles(world: World) -> list[Row]:
    boss, other, gone = (world.person(number).id for number in range(3))
    scopes: list[Row] = [
        (boss, "admin", world.company, None, None, None),
        (other, "approver", world.unit_company, None, None, None),
        (other, "auditor", None, world.synchronised_team, None, None),
        (gone, "approver", world.company, None, moment(60), boss),
    ]
    return [
        (world.id("role", n), "user", who, role, company, team, boss, moment(2), revoked, by)
        for n, (who, role, company, team, revoked, by) in enumerate(scopes)
    ]


def _approvals(everyone: Sequence[World]) -> Iterator[Rows]:
    yield Rows(
        "approval_requests",
        "request_number id request_type target_type target_id company_id team_id title payload"
        " status requestor_type requestor_id requestor_email required_approvals current_approvals"
        " applied_by created_at updated_at",
        (
            (f"REQ-{number}", *row)
            for number, *row in counted(_requests(world) for world in everyone)
        ),
    )


def _decided(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "approval_decisions",
        "id request_id approver_type approver_id approver_email decision comment created_at",
        (
            [
                (
                    w.id("decision", n),
                    w.id("request", 1),
                    "user",
                    p.id,
                    p.email,
                    "approve",
                    f"fine, says {p.name}",
                    moment(7),
                )
                for n, p in enumerate(w.people[:2])
            ]
            for w in everyone
        ),
    )
    yield each(
        "escalation_queue",
        "id request_id level escalated_to notified_at",
        (
            [
                (
                    w.id("escalation"),
                    w.id("request", 0),
                    1,
                    [{"user_id": str(w.person(0).id)}],
                    moment(8),
                )
            ]
            for w in everyone
        ),
    )


def _requests(world: World) -> list[Row]:
    person, boss = world.person(2), world.person(0)
    payload = {"author": {"email": person.email, "name": person.name}, "rule": "100% 'quoted'"}
    scopes: list[Row] = [
        (world.company, None, "pending", 2, 0, None),
        (world.unit_company, None, "approved", 2, 2, boss.id),
        (None, world.synchronised_team, "rejected", 1, 0, None),
    ]
    return [
        (
            world.id("request", n),
            "policy",
            "cedar_policy",
            f"policy-{n}",
            company,
            team,
            f"Request {n}",
            payload,
            status,
            "user",
            person.id,
            person.email,
            needed,
            given,
            by,
            moment(6),
            moment(7),
        )
        for n, (company, team, status, needed, given, by) in enumerate(scopes)
    ]


def _agents_asked(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "human_confirmation_requests",
        "id agent_id action action_description target_type confirmation_reason agent_context"
        " authorized_approvers status expires_at created_at resolved_by",
        (
            [
                (
                    w.id("confirmation"),
                    w.id("agent"),
                    "delete",
                    "delete 3 memories",
                    "memory",
                    "risky",
                    {"for_user": w.person(0).email},
                    [str(w.person(0).id)],
                    "approved",
                    moment(100),
                    moment(9),
                    w.person(0).id,
                )
            ]
            for w in everyone
        ),
    )


def _audit(world: World) -> list[Row]:
    """An administrator's row has the person's id where an address is expected."""
    boss = world.person(0)
    old = {"requestor_email": world.person(2).email}
    return [
        (
            world.id("audit", 0),
            "approved",
            world.id("request", 1),
            "cedar_policy",
            "policy-1",
            "user",
            boss.id,
            boss.email,
            {"note": boss.name},
            old,
            None,
            moment(7),
            None,
            False,
            None,
        ),
        (
            world.id("audit", 1),
            "tenant_updated",
            None,
            "tenant",
            world.key,
            "user",
            None,
            str(boss.id),
            {},
            None,
            None,
            moment(8),
            world.tenant_id,
            True,
            "cli",
        ),
    ]


def _events(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "governance_events",
        "id event_id idempotency_key tenant_id event_type payload status created_at"
        " dead_lettered_at",
        (_tenant_events(world) for world in everyone),
    )
    yield each(
        "event_delivery_metrics",
        "id tenant_id event_type period_start period_end total_events delivered_events created_at",
        (
            [
                (
                    w.id("delivery", n),
                    w.key,
                    "policy.checked",
                    moment(n),
                    moment(n + 1),
                    60,
                    59,
                    moment(n + 1),
                )
                for n in range(w.several)
            ]
            for w in everyone
        ),
    )
    yield each(
        "event_consumer_state",
        "id consumer_group idempotency_key tenant_id processed_at",
        ([(w.id("consumed"), "opal", str(w.id("event", 0)), w.key, moment(1))] for w in everyone),
    )


def _tenant_events(world: World) -> Iterator[Row]:
    """Every fifth one came in by a path that names tenants by slug."""
    for number in range(max(1, world.tenant.memories // 10)):
        key = world.id("event", number)
        name = world.tenant.slug if number % 5 == 4 else world.key
        payload = {
            "tenant": world.tenant.slug,
            "number": number,
            "actor": world.person(number % 5).email,
        }
        dead = moment(90) if number % 7 == 6 else None
        status = "dead_lettered" if dead else "published"
        start = (key, str(key), str(key), name, "policy.checked", payload, status)
        yield (*start, EPOCH + timedelta(minutes=number), dead)
