"""``tenant list``: for every tenant exactly what the seed wrote, and nothing is left out."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from aeterna_cli.lab.seed.tables.world import TWO_TENANTS
from aeterna_cli.lab.seed.tenants import HOSTILE
from aeterna_cli.lab.valkey import client
from tests.integration.deployment import Practice
from tests.integration.stores.tenant_lab import EVERYONE, IDS
from tests.integration.workflows.tenant import seed_counts

pytestmark = pytest.mark.integration


def lines(practice: Practice, *words: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = practice.cli.ok("tenant", "list", *words).data
    return data


def tenants(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["slug"]: one for one in found if one["kind"] == "tenant"}


def total(found: list[dict[str, Any]]) -> dict[str, Any]:
    (one,) = [one["counts"] for one in found if one["kind"] == "total"]
    return dict(one)


@pytest.fixture
def everything(practice: Practice) -> list[dict[str, Any]]:
    return lines(practice, "--all-stores")


def test_every_count_is_what_the_seed_wrote(everything: list[dict[str, Any]]) -> None:
    found = tenants(everything)
    assert {slug: one["id"] for slug, one in found.items()} == IDS
    points, rows = seed_counts.memory_points(), seed_counts.memory_rows()
    keys, objects = seed_counts.keys(), seed_counts.objects()
    for tenant in EVERYONE:
        counts = found[tenant.slug]["counts"]
        assert (counts["memory_points"], counts["points"]) == (points[tenant.slug],) * 2
        assert counts["memory_rows"] == rows[tenant.slug]
        assert counts["memories"] == max(points[tenant.slug], rows[tenant.slug])
        assert counts["memories_at_most"] == points[tenant.slug] + rows[tenant.slug]
        assert counts["keys"] == keys[tenant.slug], tenant.slug
        assert (counts["objects"], counts["object_bytes"]) == objects[tenant.slug]
        assert found[tenant.slug]["status"] == tenant.status
        assert found[tenant.slug]["created_at"].startswith("2026-01-01T00:00:00")
        if tenant.slug not in (*TWO_TENANTS, "default"):  # a shared person, the bootstrap's rows
            assert counts["rows"] == seed_counts.added_by(tenant).total(), tenant.slug
    vacant = found["vacant-ltd"]["counts"]
    assert vacant["rows"] == 1
    assert not {vacant[name] for name in ("memories", "points", "keys", "objects")} - {0}


def rows_held(practice: Practice) -> int:
    from psycopg import sql

    with practice.sql() as server:
        names = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        queries = [
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", name))
            for (name,) in names.fetchall()
        ]
        return sum(server.execute(query).fetchone()[0] for query in queries)


def test_the_lines_add_up_to_what_the_stores_hold(
    everything: list[dict[str, Any]], practice: Practice
) -> None:
    """The totals are asked of the stores by other means than the census counts by."""
    *others, last = everything
    assert last["kind"] == "total"
    for name in ("rows", "row_bytes", "keys", "key_bytes", "objects", "object_bytes", "memories"):
        assert sum(one["counts"][name] for one in others) == last["counts"][name], name
    points = sum(one["counts"]["points"] + one["counts"]["point_copies"] for one in others)
    assert points == last["counts"]["points"] + last["counts"]["point_copies"]
    held = rows_held(practice)
    assert last["counts"]["rows"] == held == seed_counts.table_rows(EVERYONE).total()
    with client(practice.lab.place()) as redis:
        assert last["counts"]["keys"] == redis.dbsize()
    with practice.open().qdrant as qdrant:
        held = sum(qdrant.count(name, None) for name in qdrant.collections())
    assert last["counts"]["points"] == held >= seed_counts.all_points()


def test_what_is_nobodys_is_told_and_why(everything: list[dict[str, Any]]) -> None:
    nobody = {
        (one["name"], one["why"]): one["counts"] for one in everything if one["kind"] == "nobody"
    }
    assert nobody[("__root__", "the whole instance's")]["rows"] == 3
    assert (
        nobody[("codesearch_acme_corp_api", "code search: its name is no proof of a tenant")][
            "points"
        ]
        == 12
    )
    assert nobody[("codesearch_indexer_shards", "infrastructure table")]["rows"] > 0
    assert nobody[("", "counted for each of several tenants")]["keys"] == -1
    assert any(why == "key: the deployment's own" for _name, why in nobody)


def test_without_all_stores_keys_and_objects_are_not_counted_and_say_so(practice: Practice) -> None:
    found = tenants(lines(practice))
    counts = found["acme-corp"]["counts"]
    assert counts["keys"] is counts["objects"] is counts["row_bytes"] is None
    assert counts["rows"] > 0
    assert counts["points"] == seed_counts.memory_points()["acme-corp"]


def test_filters_and_orders(practice: Practice) -> None:
    found = lines(practice, "--status", "inactive")
    assert list(tenants(found)) == ["dormant-inc"]
    assert total(found) == total(lines(practice))
    found = lines(practice, "--sort", "slug", "--limit", "2")
    assert list(tenants(found)) == sorted(IDS)[:2]
    sizes = [one["counts"]["memories"] for one in tenants(lines(practice)).values()]
    assert sizes == sorted(sizes, reverse=True)
    assert tenants(lines(practice, "--class", "large")) == {}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--class", "huge"), "class_unknown"),
        (("--sort", "colour"), "sort_unknown"),
        (("--limit", "-1"), "limit_out_of_range"),
    ],
)
def test_wrong_words_are_usage_errors(
    practice: Practice, words: tuple[str, ...], code: str
) -> None:
    ran = practice.cli("tenant", "list", *words)
    assert (ran.code, ran.error["code"]) == (2, code)


def test_thresholds_of_the_profile_decide_the_class(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = seed_counts.memory_points()
    monkeypatch.setenv("AETERNA_TENANTS__SMALL", str(points["globex"] - 1))
    monkeypatch.setenv("AETERNA_TENANTS__MEDIUM", str(points["acme-corp"]))
    found = tenants(lines(practice))
    sizes = {slug: found[slug]["size"] for slug in ("globex", "acme-corp", "large-corp", "initech")}
    assert sizes == {
        "globex": "medium", "acme-corp": "medium", "large-corp": "large", "initech": "small",
    }  # fmt: skip
    monkeypatch.setenv("AETERNA_TENANTS__SMALL", "100000")
    ran = practice.cli("tenant", "list")
    assert (ran.code, ran.error["code"]) == (2, "thresholds_inverted")


def formats(practice: Practice) -> Iterator[str]:
    for form in ("table", "csv"):
        yield practice.cli.ok("tenant", "list", "--all-stores", "-o", form).out


def test_a_hostile_name_breaks_no_format(practice: Practice) -> None:
    plain, comma = formats(practice)
    assert "\u202e" not in plain + comma
    read = list(csv.DictReader(io.StringIO(comma)))
    (row,) = [one for one in read if one["id"] == IDS[HOSTILE]]
    assert row["slug"] == HOSTILE.replace("\u202e", "\\u202e")
    streamed = practice.cli.ok("tenant", "list", "-o", "ndjson").out.splitlines()
    header, *items = map(json.loads, streamed)
    assert header["schema"] == "aeterna.tenant.list/1"
    assert {one["slug"] for one in items if one["kind"] == "tenant"} == set(IDS)


def test_names_are_kept_for_completion_but_none_that_breaks_a_shell(practice: Practice) -> None:
    lines(practice, "--limit", "1")
    names = (practice.open().cache_directory / "tenants").read_text().splitlines()
    assert {"acme-corp", "acme_corp", *IDS.values()} <= set(names)
    assert HOSTILE not in names
    assert not [one for one in names if set(one) & set(" \"'$`;*?[](){}<>|&\\!~#")]
