"""``tenant show``: one tenant, place by place, found by id, slug or name."""

from collections import Counter
from typing import Any

import pytest

from aeterna_cli.lab.seed.objects import seed_objects
from aeterna_cli.lab.seed.point_shapes import CODE, lots
from aeterna_cli.lab.seed.tenants import HOSTILE, Tenant
from tests.integration.deployment import Practice
from tests.integration.stores.tenant_lab import EVERYONE, IDS, SEED
from tests.integration.workflows.tenant import seed_counts

pytestmark = pytest.mark.integration


def show(practice: Practice, *words: str) -> dict[str, Any]:
    data: dict[str, Any] = practice.cli.ok("tenant", "show", *words).data
    return data


def held(shown: dict[str, Any], store: str) -> dict[str, int]:
    return {one["place"]: one["count"] for one in shown["held"] if one["store"] == store}


def tenant(slug: str) -> Tenant:
    (found,) = [one for one in EVERYONE if one.slug == slug]
    return found


@pytest.mark.parametrize("slug", ["initech", HOSTILE], ids=["by uuid", "hostile, by slug"])
def test_every_place_has_what_the_seed_wrote_there(practice: Practice, slug: str) -> None:
    shown = show(practice, slug)
    assert shown["id"] == IDS[slug]
    added = seed_counts.added_by(tenant(slug))
    assert held(shown, "postgres") == {name: count for name, count in added.items() if count}
    points: Counter[str] = Counter()
    for lot in lots(SEED, EVERYONE):
        if lot.tenant is not None and lot.tenant.slug == slug:
            place = (
                lot.collection if lot.shard_key is None else f"{lot.collection} [{lot.shard_key}]"
            )
            points[place] += lot.count
    assert held(shown, "qdrant") == points
    assert sum(held(shown, "redis").values()) == seed_counts.keys()[slug]
    assert sum(held(shown, "objects").values()) == sum(
        one.tenant == slug for one in seed_objects(SEED, EVERYONE)
    )
    counts = shown["counts"]
    estimated = {one["store"] for one in shown["held"] if one["bytes_estimated"]}
    assert estimated == {"qdrant"}
    assert all(one["bytes"] > 0 for one in shown["held"])
    for store, name in (("postgres", "rows"), ("qdrant", "points"), ("redis", "keys")):
        assert sum(held(shown, store).values()) == counts[name]


@pytest.mark.parametrize("words", [("--tenant-id", "Globex GmbH"), ("globex",)])
def test_a_tenant_is_found_by_name_and_by_slug_and_shared_persons_are_told(
    practice: Practice, words: tuple[str, ...]
) -> None:
    shown = show(practice, *words)
    assert shown["id"] == IDS["globex"]
    (users,) = [one for one in shown["held"] if one["place"] == "users"]
    assert (users["shared"], shown["shared_persons"]) == (1, 1)
    assert held(shown, "qdrant").keys() >= {"memories-shared [globex]", "memory_embeddings"}


def test_a_collection_that_two_tenants_may_mean_is_doubtful_for_both(practice: Practice) -> None:
    for slug in ("acme-corp", "acme_corp"):
        shown = show(practice, slug)
        doubtful = {one["place"]: one for one in shown["doubtful"]}
        assert doubtful[CODE[0]]["why"] == "its name may mean this tenant"
        assert CODE[0] not in held(shown, "qdrant")
        assert held(shown, "qdrant")[f"memories-shared [{slug}]"] == sum(
            lot.count
            for lot in lots(SEED, EVERYONE)
            if lot.tenant is not None
            and (lot.tenant.slug, lot.collection) == (slug, "memories-shared")
        )
    assert CODE[0] not in {one["place"] for one in show(practice, "initech")["doubtful"]}


def test_a_vacant_and_an_inactive_tenant(practice: Practice) -> None:
    vacant = show(practice, "vacant-ltd")
    assert [(one["place"], one["count"]) for one in vacant["held"]] == [("tenants", 1)]
    assert vacant["advice"]["collection"] is None
    dormant = show(practice, "dormant-inc")
    assert (dormant["status"], dormant["advice"]["collection"]) == ("inactive", "memory_embeddings")


def test_the_table_says_it_in_words_and_moves_no_cursor(practice: Practice) -> None:
    out = practice.cli.ok("tenant", "show", HOSTILE, "-o", "table").out
    assert "\u202e" not in out
    assert "memories (" in out
    assert "no placement" in out


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("acme-crop",), "tenant_unknown", 7),
        (("%",), "tenant_unknown", 7),
        (("' OR 1=1 --",), "tenant_unknown", 7),
        ((), "tenant_missing", 2),
        (("globex", "--tenant-id", "initech"), "tenant_missing", 2),
    ],
)
def test_who_is_nobody_is_told_with_the_closest_names(
    practice: Practice, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    ran = practice.cli("tenant", "show", *words)
    assert (ran.code, ran.error["code"]) == (exit_code, code)
    if words == ("acme-crop",):
        assert IDS["acme-corp"] in ran.error["details"]["closest"]
