"""Which tenant is meant: by id, by slug, or by a name that only one has."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from difflib import get_close_matches

from aeterna_cli.datamap.model import DataMap
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.datamap.build import build, root_of

_SHOWN = 5


def resolve(place: Deployment, text: str, map_: DataMap | None = None) -> TenantIdentity:
    """The one tenant with this id or slug, else the one of this name.

    ``RefusedError``: ``tenant_unknown`` offers the closest names; ``tenant_ambiguous`` lists the
    ids, also where a tenant's slug is another one's id, so that no store could tell their rows
    apart; ``root_missing`` where the database has no tenants. ``text`` may be anything.
    """
    with every(place, map_) as tenants:
        return choose(text, tenants)


@contextmanager
def every(place: Deployment, map_: DataMap | None = None) -> Iterator[Iterable[TenantIdentity]]:
    """All tenants of the deployment by id, streamed while the block is open.

    Pass the ``map_`` where there is one already; ``RefusedError('root_missing')`` as above.
    """
    from aeterna_cli.stores.postgres_catalogue import tenants
    from aeterna_cli.stores.postgres_connection import connect, postgres_errors

    root = root_of(map_ or build(place))
    with postgres_errors(), closing(connect(place.profile.postgres)) as connection:
        yield tenants(connection, root)


def choose(text: str, tenants: Iterable[TenantIdentity]) -> TenantIdentity:
    """As ``resolve``, among these. Memory grows with the names, not with the tenants' data."""
    known = list(tenants)
    by_value = [one for one in known if text in one.values]
    found = by_value or [one for one in known if text == one.name]
    if not found:
        raise _unknown(text, known)
    if len(found) > 1:
        raise _ambiguous(text, found)
    alike = [one for one in known if set(one.values) & set(found[0].values)]
    if len(alike) > 1:
        raise _ambiguous(text, alike)
    return found[0]


def _unknown(text: str, known: list[TenantIdentity]) -> RefusedError:
    names = {name: one for one in known for name in (one.name, one.slug, one.id)}
    lowered: dict[str, str] = {name.lower(): name for name in names}
    close = [lowered[one] for one in get_close_matches(text.lower(), lowered, n=_SHOWN)]
    tenants = list(dict.fromkeys(names[name] for name in close))
    offered = ", ".join(f"{one.slug} ({one.id})" for one in tenants)
    return RefusedError(
        "tenant_unknown",
        f"there is no tenant {text!r}",
        hint=f"did you mean {offered}?" if offered else "give an id, a slug or a name",
        details={"closest": [one.id for one in tenants]},
    )


def _ambiguous(text: str, found: list[TenantIdentity]) -> RefusedError:
    listed = ", ".join(f"{one.id} ({one.slug})" for one in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return RefusedError(
        "tenant_ambiguous",
        f"{text!r} means {len(found)} tenants: {listed}{more}",
        hint="give the id; where a slug is another tenant's id, rename it first",
        details={"ids": [one.id for one in found]},
    )
