"""Whose a point is, by its payload alone."""

import json
from typing import Any

import pytest

from aeterna_cli.stores.qdrant_selection import PointTest

MINE = ("0b4b6f5e-0000-4000-8000-000000000001", "acme'%*")
TEST = PointTest(False, "tenant_id", MINE, "metadata", "tenant_id")


@pytest.mark.parametrize(
    ("payload", "mine"),
    [
        ({"tenant_id": MINE[0]}, True),
        ({"tenant_id": MINE[1]}, True),
        ({"tenant_id": ["other", MINE[1]]}, True),
        ({"tenant_id": "acme"}, False),
        ({"tenant_id": None, "metadata": json.dumps({"tenant_id": MINE[1]})}, True),
        ({"metadata": json.dumps({"tenant_id": MINE[0]})}, True),
        ({"metadata": {"tenant_id": MINE[0]}}, True),
        ({"tenant_id": "other", "metadata": json.dumps({"tenant_id": MINE[0]})}, False),
        ({"metadata": "no json"}, False),
        ({"metadata": json.dumps(["tenant_id", MINE[0]])}, False),
        ({}, False),
        (None, False),
    ],
)
def test_the_field_decides_and_the_text_only_without_it(payload: Any, mine: bool) -> None:
    assert TEST(payload) is mine


def test_a_collection_of_ones_own_asks_nothing() -> None:
    assert PointTest(True, "", (), "", "")(None)
    assert PointTest.from_document(json.loads(json.dumps(TEST.__dict__))) == TEST
