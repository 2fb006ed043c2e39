"""Adding up keys and objects by tenant and rule; memory is bounded by tenants and shapes."""

import re

from aeterna_cli.stores.base.tenant_counts import Judged, Sampled, Tally, Volume

MOST_SHAPES = 100
OTHER = "(other)"
_LONGEST_SAMPLE = 200
_PARTS = (
    (re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "<uuid>"),
    (re.compile(r"[0-9a-fA-F]{16,}"), "<hex>"),
    (re.compile(r"\d+"), "<n>"),
)


def shape(name: str) -> str:
    """A name without what differs from one to the next: ``sess:<uuid>:<n>``."""
    for pattern, word in _PARTS:
        name = pattern.sub(word, name)
    return name if len(name) <= _LONGEST_SAMPLE else f"{name[:_LONGEST_SAMPLE]}…"


def add(tally: Tally, name: str, size: int, judged: Judged) -> None:
    """Count one thing where it belongs."""
    tally.total.add(size)
    if judged.holder in ("tenant", "several"):
        for tenant in judged.tenants:
            rules = tally.by_tenant.setdefault(tenant, {})
            rules.setdefault(judged.rule_name, Volume()).add(size)
        if judged.holder == "several":
            tally.shared.setdefault(judged.rule_name, Volume()).add(size)
    elif judged.holder == "unclassified":
        _unclassified(tally, name, size)
    else:
        rules = tally.others.setdefault(judged.holder, {})
        rules.setdefault(judged.rule_name, Volume()).add(size)


def _unclassified(tally: Tally, name: str, size: int) -> None:
    form = shape(name)
    if form not in tally.unclassified and len(tally.unclassified) >= MOST_SHAPES:
        form = OTHER
    found = tally.unclassified.setdefault(form, Sampled(name[:_LONGEST_SAMPLE]))
    found.volume.add(size)
