"""What the commands about all tenants say of each: one line for a tenant, one for what is nobody's,
one for the total."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.tenant.advice import Advice, SizeClass
from aeterna_cli.workflows.tenant.census import Census, Nobody, Share

MOST_NOBODIES = 1000  # lines; smaller ones are told together

Kind = Literal["tenant", "nobody", "total"]


@dataclass(frozen=True)
class Counts:
    """``memories`` is the larger number of rows and points: what there is at least;
    ``memories_at_most`` their sum, as if no row were also a point. ``memories_7d`` and ``_30d`` are
    those created in that time. None was not counted. ``points`` leaves out ``point_copies``, which
    a running move has in a second place; ``point_bytes_estimate`` is vectors and a sample of
    payloads, without indexes. Bytes of rows and keys are the server's, without indexes."""

    memories: int
    memories_at_most: int
    memory_rows: int
    memory_points: int
    memories_7d: int
    memories_30d: int
    points: int
    point_copies: int
    point_bytes_estimate: int
    rows: int | None
    row_bytes: int | None
    keys: int | None
    key_bytes: int | None
    objects: int | None
    object_bytes: int | None


@dataclass(frozen=True)
class TenantLine:
    """``kind`` tells what it is of. For ``nobody`` what is there is named by ``name``, and ``why``
    says why it is no tenant's; ``total`` is everything in the stores, each thing once."""

    kind: Kind
    id: str | None
    slug: str | None
    name: str
    status: str | None
    created_at: datetime | None
    size: SizeClass | None
    shard: str | None
    collection: str | None
    why: str
    counts: Counts


def counts_of(census: Census, share: Share) -> Counts:
    rows, everything = census.depth.rows, census.depth.everything
    return Counts(
        memories=share.memories,
        memories_at_most=share.memories_at_most,
        memory_rows=share.memory_rows,
        memory_points=share.memory_points,
        memories_7d=share.week,
        memories_30d=share.month,
        points=share.points,
        point_copies=share.copies,
        point_bytes_estimate=share.point_bytes,
        rows=share.rows if rows else None,
        row_bytes=share.row_bytes if rows and everything else None,
        keys=share.keys if everything else None,
        key_bytes=share.key_bytes if everything else None,
        objects=share.objects if everything else None,
        object_bytes=share.object_bytes if everything else None,
    )


def tenant_line(census: Census, tenant: TenantIdentity, advice: Advice) -> TenantLine:
    return TenantLine(
        kind="tenant",
        id=tenant.id,
        slug=tenant.slug,
        name=tenant.name,
        status=tenant.status or None,
        created_at=tenant.created_at,
        size=advice.size,
        shard=advice.shard,
        collection=advice.collection,
        why="",
        counts=counts_of(census, census.shares[tenant.id]),
    )


def nobody_lines(census: Census) -> list[TenantLine]:
    """The largest first; what is beyond ``MOST_NOBODIES`` lines is one line more."""

    def weight(one: tuple[Nobody, Share]) -> tuple[int, str, str]:
        share = one[1]
        return (-(share.rows + share.points + share.keys + share.objects), one[0].what, one[0].why)

    ordered = sorted(census.nobody.items(), key=weight)
    lines = [_line(census, "nobody", nobody.what, nobody.why, share) for nobody, share in
             ordered[:MOST_NOBODIES]]  # fmt: skip
    rest = Share()
    for _nobody, share in ordered[MOST_NOBODIES:]:
        rest.add(share)
    if len(ordered) > MOST_NOBODIES:
        number = len(ordered) - MOST_NOBODIES
        lines.append(_line(census, "nobody", "", f"{number:,} more of these", rest))
    return lines


def total_lines(census: Census) -> list[TenantLine]:
    """What the stores hold; before it, where something has several tenants, what is subtracted."""
    lines = []
    several = census.several
    if several.rows or several.keys:
        negative = Share(rows=-several.rows, row_bytes=-several.row_bytes, keys=-several.keys,
                         key_bytes=-several.key_bytes)  # fmt: skip
        why = "counted for each of several tenants"
        lines.append(_line(census, "nobody", "", why, negative))
    total = _line(census, "total", "total", "", census.total)
    everyone = [*census.shares.values(), *census.nobody.values()]
    counts = replace(
        total.counts,  # the larger of two sums is not the sum of the larger ones
        memories=sum(one.memories for one in everyone),
        memories_7d=sum(one.week for one in everyone),
        memories_30d=sum(one.month for one in everyone),
    )
    return [*lines, replace(total, counts=counts)]


def _line(census: Census, kind: Kind, name: str, why: str, share: Share) -> TenantLine:
    return TenantLine(
        kind, None, None, name, None, None, None, None, None, why, counts_of(census, share)
    )


# -- for people


def printable(text: str) -> str:
    """The text without what moves a terminal's cursor or turns its writing direction round."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def moment(value: datetime | None) -> str:
    return "-" if value is None else value.astimezone(UTC).isoformat(timespec="seconds")


def number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def where(shard: str | None, collection: str | None) -> str:
    """The shard's name, or the collection in brackets where that is no shard."""
    if shard is not None:
        return printable(shard)
    return f"({printable(collection)})" if collection is not None else "-"


def shell_safe(tenants: Iterable[TenantIdentity]) -> list[str]:
    """Slugs and ids that a shell's completion may offer: no character that a shell would act on."""
    names: list[str] = []
    for one in tenants:
        names += [text for text in (one.slug, one.id) if _safe(text)]
    return list(dict.fromkeys(names))


_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@+,")


def _safe(text: str) -> bool:
    return bool(text) and not text.startswith("-") and _SAFE.issuperset(text)


def by_size(lines: Sequence[TenantLine]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for one in lines:
        if one.size is not None:
            found[one.size] = found.get(one.size, 0) + 1
    return found
