"""Both hierarchies: units with TEXT ids, and companies, organizations, teams, projects."""

from collections.abc import Iterator, Sequence

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.tables.world import Row, World, each, moment

ROOT = "__root__"  # the instance itself, wherever a tenant is wanted
DEFAULT = "default"  # the bootstrap's tenant, named by slug whatever its row in tenants says


def rows(everyone: Sequence[World]) -> Iterator[Rows]:
    yield Rows(
        "organizational_units",
        "id name type parent_id tenant_id metadata created_at updated_at external_id idp_provider"
        " slug",
        [*_bootstrap(), *(row for world in everyone for row in _units(world))],
    )
    yield each(
        "unit_policies",
        "id unit_id policy created_at updated_at",
        (_unit_policies(world) for world in everyone),
    )
    yield each(
        "project_team_assignments",
        "project_id team_id tenant_id assignment_type created_at",
        ([(w.unit_project, w.unit_team, w.key, "owner", moment(1))] for w in everyone),
    )
    yield each(
        "idp_group_mappings",
        "idp_group_id team_id idp_provider created_at",
        ([(f"{w.host}:engineering", w.synchronised_team, "github", moment(1))] for w in everyone),
    )
    yield from _companies(everyone)
    yield from _teams(everyone)
    yield from _patterns(everyone)


def _bootstrap() -> list[Row]:
    return [
        (name, title, "company", None, name, {}, moment(), moment(), None, None, name)
        for name, title in ((DEFAULT, "Default"), (ROOT, "Instance"))
    ]


def _units(world: World) -> list[Row]:
    """The first one has the tenant's own name as its id: decomposition_* can only refer to that."""
    person = world.person(0)
    contact = {"contact": {"name": person.name, "email": person.email}}
    chain = [
        (world.key, "Root", "company", None, {}, None, None),
        (str(world.unit_company), world.tenant.name, "company", None, contact, None, None),
        (
            world.unit_organization,
            "Engineering",
            "organization",
            str(world.unit_company),
            {},
            None,
            None,
        ),
        (world.unit_team, "Platform", "team", world.unit_organization, {}, "4711", "github"),
        (world.unit_project, "Payments", "project", world.unit_team, {}, None, None),
    ]
    return [
        (key, name, kind, parent, world.key, data, moment(1), moment(2), external, idp, slug)
        for key, name, kind, parent, data, external, idp in chain
        for slug in [name.lower()]
    ]


def _unit_policies(world: World) -> list[Row]:
    policy = {"effect": "permit", "principal": str(world.person(0).id)}
    return [(str(world.id("policy")), str(world.unit_company), policy, moment(2), moment(2))]


def _companies(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "companies",
        "id tenant_id slug name settings created_at updated_at",
        (
            [
                (
                    w.company,
                    w.tenant_id,
                    w.tenant.slug,
                    w.tenant.name,
                    {"billing_contact": w.person(1).email},
                    moment(),
                    moment(1),
                )
            ]
            for w in everyone
        ),
    )
    yield each(
        "organizations",
        "id company_id slug name settings created_at updated_at",
        (
            [(w.organization, w.company, "engineering", "Engineering", {}, moment(1), moment(1))]
            for w in everyone
        ),
    )


def _teams(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "teams",
        "id org_id slug name settings created_at updated_at",
        (
            [
                (w.team(n), w.organization, f"team-{n}", f"Team {n}", {}, moment(1), moment(1))
                for n in range(2)
            ]
            for w in everyone
        ),
    )
    yield each(
        "projects",
        "id team_id slug name git_remote settings created_at updated_at deleted_at",
        (_projects(world) for world in everyone),
    )


def _patterns(everyone: Sequence[World]) -> Iterator[Rows]:
    yield each(
        "git_remote_patterns",
        "id company_id pattern org_slug created_at updated_at",
        (
            [(w.id("remote"), w.company, f"^git@{w.host}:", "engineering", moment(1), moment(1))]
            for w in everyone
        ),
    )
    yield each(
        "email_domain_patterns",
        "id company_id domain default_org_id default_team_id created_at updated_at",
        (
            [
                (
                    w.id("domain"),
                    w.company,
                    f"{w.host}.example",
                    w.organization,
                    w.team(0),
                    moment(1),
                    moment(1),
                )
            ]
            for w in everyone
        ),
    )


def _projects(world: World) -> list[Row]:
    remote = f"git@git.{world.host}.example:payments.git"
    gone = moment(48)
    return [
        (
            world.project(0),
            world.team(0),
            "payments",
            "Payments",
            remote,
            {},
            moment(1),
            moment(1),
            None,
        ),
        (world.project(1), world.team(0), "old", "Old", None, {}, moment(1), gone, gone),
    ]
