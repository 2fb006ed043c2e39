"""Rows of ``aeterna_ops.tenant_placement`` as placements, for the store and for applications."""

import re
from collections.abc import Sequence
from typing import Any, LiteralString

from aeterna_cli.stores.base.placement import Placement, PointsPlace

#: The columns in the order that ``placement_of`` reads them.
COLUMNS: LiteralString = """tenant::text, shard, collection, shard_key, fallback_key,
    secondary_shard, secondary_collection, secondary_shard_key, secondary_fallback_key,
    state, epoch, operation, updated_at"""
#: One tenant's gate, an advisory lock. Who writes by contract ``reread`` holds it shared for the
#: write, who changes the placement holds it alone: it queues in order, while a stream of
#: overlapping FOR SHARE can keep an UPDATE waiting for ever, and it is there before the row is.
GATE: LiteralString = "hashtextextended('aeterna_ops.tenant_placement ' || {tenant}::text, 0)"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def canonical_tenant(text: str) -> str:
    """The uuid in lower case; ``ValueError`` for every other text, a slug too."""
    found = text.lower()
    if not _UUID.fullmatch(found):
        raise ValueError(f"a tenant's placement is found by its uuid, not by {text[:120]!r}")
    return found


def placement_of(row: Sequence[Any]) -> Placement:
    """``row`` has ``COLUMNS``."""
    return Placement(
        tenant=row[0],
        primary=PointsPlace(*row[1:5]),
        secondary=PointsPlace(*row[5:9]) if row[5] is not None else None,
        state=row[9],
        epoch=row[10],
        operation=row[11],
        updated_at=row[12],
    )
