"""Whose an object is, by its name alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.datamap import rules
from aeterna_cli.datamap.objects import ObjectMap, ObjectRule, parse
from aeterna_cli.errors import UsageError
from tests.unit.datamap.given_tenants import HOSTILE, NEIGHBOURS, one, slugs, tenant

SHIPPED = rules.load()
MAP = ObjectMap.of(SHIPPED, NEIGHBOURS)
RULES = parse(SHIPPED)
WORDS = {"file": "x.tar.gz", "moment": "20260101_000000", "repository": "7f"}


@given(st.sampled_from(RULES), slugs)
def test_an_object_of_a_tenant_is_found_to_be_its_own(rule: ObjectRule, slug: str) -> None:
    mine = tenant(slug)
    known = ObjectMap.of(SHIPPED, [*NEIGHBOURS, mine])
    for value in mine.values:
        found = known.classify(rule.pattern.make({**WORDS, "tenant": value}), "application")
        assert mine.id in found.tenants
        assert found.holder == ("tenant" if found.tenants == (mine.id,) else "ambiguous")


@pytest.mark.parametrize("slug", ["tenant-1", "tenant-11", "acme-corp", "acme_corp", "1", HOSTILE])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_neighbours_are_told_apart(rule: ObjectRule, slug: str) -> None:
    for value in one(slug).values:
        name = rule.pattern.make({**WORDS, "tenant": value})
        found = MAP.classify(name, "application")
        assert (found.rule_name, found.holder, found.tenants) == (
            rule.name,
            "tenant",
            (one(slug).id,),
        )
        assert name.startswith(rule.prefixes(one(slug)))


@pytest.mark.parametrize(
    ("name", "holder"),
    [
        ("graph/removed/full_1.parquet", "unknown"),
        ("removed/exports/1.tar.gz", "unknown"),
        ("README", "unclassified"),
        ("acme", "unclassified"),
        ("acme/", "unclassified"),
        ("", "unclassified"),
    ],
)
def test_what_is_nobodys_is_said_to_be_so(name: str, holder: str) -> None:
    assert MAP.classify(name, "application").holder == holder


def test_a_tenant_called_graph_makes_nobody_guess() -> None:
    graph = tenant("graph")
    found = ObjectMap.of(SHIPPED, [*NEIGHBOURS, graph])
    assert found.classify("graph/acme/full_1.parquet", "a").tenants == (one("acme").id,)
    assert found.classify("graph/exports/1.tar.gz", "a").holder == "ambiguous"


def test_a_rule_may_be_for_one_bucket_alone() -> None:
    entry = {"name": "logs", "pattern": "logs/{tenant}/{file*}", "stores": ["cold-*"]}
    known = ObjectMap.of({"object": [{**entry, "role": "export"}]}, NEIGHBOURS)
    assert known.classify("logs/acme/1", "cold-1").holder == "tenant"
    assert known.classify("logs/acme/1", "application").holder == "unclassified"


@pytest.mark.parametrize("wrong", [{"role": "x"}, {"pattern": "{tenant"}, {"bucket": "x"}])
def test_a_malformed_rule_is_refused(wrong: dict[str, object]) -> None:
    entry = {"name": "it", "pattern": "{tenant}/{file}", "role": "export", **wrong}
    with pytest.raises(UsageError) as refused:
        parse({"object": [entry]})
    assert refused.value.code == "rules_invalid"
