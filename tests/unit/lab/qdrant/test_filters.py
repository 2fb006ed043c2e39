"""A filter that is not understood must be refused: ignoring a part of it selects too much."""

from typing import Any

import pytest

pytest.importorskip("qdrant_edge")

from aeterna_cli.lab.qdrant.filters import filter_keys, filter_of
from aeterna_cli.lab.qdrant.refusals import Refusal
from aeterna_cli.lab.qdrant.versions import Version

NOW = Version.parse("1.19.0")
TENANT = {"key": "tenant_id", "match": {"value": "a"}}


def test_no_filter_stays_none() -> None:
    assert filter_of(None, NOW) is None


@pytest.mark.parametrize(
    "condition",
    [
        TENANT,
        {"key": "n", "match": {"any": [1, 2]}},
        {"key": "n", "match": {"except": ["a"]}},
        {"key": "n", "range": {"gte": 1, "lt": 5.5}},
        {"key": "at", "range": {"gte": "2026-01-01T00:00:00Z"}},
        {"key": "tags", "values_count": {"gt": 1}},
        {"is_empty": {"key": "a"}},
        {"is_null": {"key": "a"}},
        {"has_id": [1, "11111111-1111-1111-1111-111111111111"]},
        {"has_vector": "text"},
        {"nested": {"key": "a", "filter": {"must": [TENANT]}}},
        {"should": [TENANT], "must_not": TENANT},
    ],
)
def test_known_conditions(condition: dict[str, Any]) -> None:
    assert filter_of({"must": [condition]}, NOW) is not None


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"all": [TENANT]},
        {"must": [{"tenant_id": "a"}]},
        {"must": ["tenant_id"]},
        {"must": [{"key": "tenant_id"}]},
        {"must": [{"key": "tenant_id", "match": {"like": "a"}}]},
        {"must": [{"has_id": ["not-a-uuid"]}]},
        {"must": [{"nested": {"key": "a", "filter": {"may": []}}}]},
    ],
)
def test_everything_else_is_refused(document: Any) -> None:
    with pytest.raises(Refusal) as caught:
        filter_of(document, NOW)
    assert caught.value.status == 400


def test_a_slice_is_known_from_1_19() -> None:
    document = {"must": [{"slice": {"total": 4, "index": 1}}]}
    assert filter_of(document, NOW) is not None
    with pytest.raises(Refusal):
        filter_of(document, Version.parse("1.18.2"))


def test_the_keys_of_a_filter() -> None:
    document = {
        "must": [TENANT, {"should": [{"key": "a", "match": {"value": 1}}]}],
        "must_not": {"key": "b", "match": {"value": 1}},
        "min_should": {"conditions": [{"key": "c", "match": {"value": 1}}], "min_count": 1},
    }
    assert set(filter_keys(document)) == {"tenant_id", "a", "b", "c"}
