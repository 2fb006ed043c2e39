"""``[[table]]``: what it may say, and that guessing never happens."""

from collections.abc import Mapping
from typing import Any

import pytest

from aeterna_cli.datamap import rules
from aeterna_cli.datamap.table_rules import SoftTarget, parse
from aeterna_cli.errors import UsageError


def test_the_shipped_rules_parse() -> None:
    found = parse(rules.load()["table"])
    assert found["users"].scope == "person"
    targets = found["governance_roles"].references[0].to
    assert targets[2] == SoftTarget("organizational_units", "id", derived=True)
    assert all(s.ground for rule in found.values() for s in rule.subjects if s.erase == "keep")


def test_a_quoted_table_may_have_dots() -> None:
    rule = {"name": "t", "references": [{"column": "c", "to": ['other."x.y".id']}]}
    assert parse([rule])["t"].references[0].to == (SoftTarget('other."x.y"', "id"),)


@pytest.mark.parametrize(
    "entry",
    [
        {"scopes": "soft"},
        {"scope": "unclassified"},
        {"scope": 7},
        {"tenant_columns": "tenant"},
        {"tenant_columns": [1]},
        {"references": ["companies.id"]},
        {"references": [{"column": "c", "to": []}]},
        {"references": [{"to": ["a.b"]}]},
        {"references": [{"column": "c", "to": ["nodot"]}]},
        {"references": [{"column": "c", "to": ["a.b as uuid4"]}]},
        {"references": [{"column": "c", "to": ["a.b"], "when": "x"}]},
        {"references": [{"column": "c", "to": ["a.b"], "when_null": 1}]},
        {"subjects": [{"column": "c", "kind": "email"}]},
        {"subjects": [{"column": "c", "kind": "shoe", "erase": "null"}]},
        {"subjects": [{"column": "c", "kind": "email", "erase": "burn"}]},
        {"subjects": [{"column": "c", "kind": "email", "erase": "keep"}]},
        {"subjects": [{"column": 1, "kind": "email", "erase": "null"}]},
        {"subjects": {"column": "c"}},
        {"rebuildable": True},
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_refused_by_name(entry: Mapping[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        parse([{"name": "the table", **entry}])
    assert refused.value.code == "rules_invalid"
    assert "'the table'" in refused.value.message
