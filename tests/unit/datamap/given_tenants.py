"""Tenants that are easily mistaken for each other, and tenants that nobody would wish for."""

from uuid import UUID, uuid5

from hypothesis import strategies as st

from aeterna_cli.stores.base.tenants import TenantIdentity

_NAMESPACE = UUID("0a6f5b1e-4ac1-4f0e-9d2b-5d2b7a1c9e10")
HOSTILE = "%_*'\";--\\[a-z]?日本 ü\n{tenant}"


def tenant(slug: str) -> TenantIdentity:
    return TenantIdentity(str(uuid5(_NAMESPACE, slug)), slug, slug.title(), "active", None)


NEIGHBOURS = tuple(
    tenant(slug)
    for slug in ("acme-corp", "acme_corp", "acme", "tenant-1", "tenant-11", "1", "11", HOSTILE)
)


def one(slug: str) -> TenantIdentity:
    return next(found for found in NEIGHBOURS if found.slug == slug)


#: texts that a platform which checks nothing would take for a slug
slugs = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)
