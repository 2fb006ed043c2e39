"""Every shape of Redis key is known, and no tenant's key is ever taken for another's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.datamap import described, rules
from aeterna_cli.datamap.keys import KeyMap, KeyRule, parse
from aeterna_cli.errors import UsageError
from tests.unit.datamap.given_tenants import HOSTILE, NEIGHBOURS, one, slugs, tenant

SHIPPED = rules.load()
MAP = KeyMap.of(SHIPPED, NEIGHBOURS)
NAMED = [rule for rule in parse(SHIPPED) if rule.pattern.has_tenant]
PLAIN = st.text("abcdef0123456789-_.", min_size=1, max_size=20)
WORDS = ("model", "hash", "layer", "entry", "depth", "session", "extension", "job", "key")


def entry(**fields: object) -> dict[str, list[dict[str, object]]]:
    plain = {"name": "it", "pattern": "a:{id}", "type": "string", "ttl": "none", "role": "cache"}
    merged = {**plain, **fields}
    return {"key": [{name: value for name, value in merged.items() if value is not None}]}


@given(
    st.sampled_from(NAMED), slugs, st.booleans(), st.fixed_dictionaries(dict.fromkeys(WORDS, PLAIN))
)
def test_a_key_of_a_tenant_is_found_to_be_its_own(
    rule: KeyRule, slug: str, by_slug: bool, words: dict[str, str]
) -> None:
    """Whatever a tenant is called. Where its name makes a key read as another's too, nobody is
    chosen, and it is still among those who are named."""
    mine = tenant(slug)
    key = rule.pattern.make({**words, "tenant": mine.slug if by_slug else mine.id}).encode()
    found = KeyMap(parse(SHIPPED), MAP._known.of([*NEIGHBOURS, mine])).classify(key)
    if found.holder == "tenant":
        assert found.tenants == (mine.id,)
    else:
        assert found.holder == "ambiguous"
        assert mine.id in found.tenants
    if not by_slug:
        assert (found.holder, found.rule_name) == ("tenant", rule.name)


@pytest.mark.parametrize("rule", NAMED, ids=lambda rule: rule.name)
@pytest.mark.parametrize("slug", ["tenant-1", "tenant-11", "acme", "acme-corp", "1", "11", HOSTILE])
def test_neighbours_are_told_apart(rule: KeyRule, slug: str) -> None:
    words = dict.fromkeys(WORDS, "x")
    for value in one(slug).values:
        found = MAP.classify(rule.pattern.make({**words, "tenant": value}).encode())
        assert (found.rule_name, found.holder, found.tenants) == (
            rule.name,
            "tenant",
            (one(slug).id,),
        )


def test_a_tenant_called_like_a_prefix_gets_no_others_keys() -> None:
    emb, acme = tenant("emb"), one("acme")
    known = KeyMap.of(SHIPPED, [*NEIGHBOURS, emb])
    assert known.classify(b"emb:acme:ada-002:00ff").tenants == (acme.id,)
    assert known.classify(b"emb:mine").tenants == (emb.id,)
    left = known.classify(b"emb:removed-tenant:ada-002:00ff")
    assert (left.holder, left.rule_name) == ("ambiguous", "embedding cache")


def test_a_separator_in_a_tenant_makes_nobody_guess() -> None:
    one_part, two_parts = tenant("a"), tenant("a:b")
    known = KeyMap.of(SHIPPED, [one_part, two_parts])
    assert known.classify(b"a:b").tenants == (one_part.id,)
    found = known.classify(b"a:b:settings")
    assert found.holder == "ambiguous"
    assert set(found.tenants) == {one_part.id, two_parts.id}


def test_a_slug_that_is_anothers_id_makes_nobody_guess() -> None:
    victim = tenant("victim")
    thief = tenant(victim.id)
    found = KeyMap.of(SHIPPED, [victim, thief]).classify(f"sync_lock:{victim.id}:nightly".encode())
    assert found.holder == "ambiguous"


@pytest.mark.parametrize(
    ("key", "rule", "holder"),
    [
        ("aeterna:server:version", "server version", "nobody"),
        ("aeterna:server:bootstrap:purge-lock", "purge lock", "nobody"),
        ("aeterna:lifecycle:decay", "lifecycle job", "nobody"),
        ("revocation:agent:7f", "agent revocation", "nobody"),
        ("oauth:state:x", "oauth state", "nobody"),
        ("job_completed:j", "job completed", "nobody"),
        ("job_lock:j", "job lock", "nobody"),
        ("aeterna:refresh_tokens:1", "refresh token", "value"),
        ("aeterna:refresh_tokens:__index", "refresh token", "index"),
        ("aeterna-ops:identity", "operations", "ours"),
        ("governance:events:removed", "governance events", "unknown"),
        ("ext_state:acme:x", "", "unclassified"),
        ("acme", "", "unclassified"),
        ("", "", "unclassified"),
    ],
)
def test_keys_without_a_tenant_in_the_name(key: str, rule: str, holder: str) -> None:
    found = MAP.classify(key.encode())
    assert (found.rule_name, found.holder) == (rule, holder)


def test_a_key_that_is_no_text_is_classified_too() -> None:
    assert MAP.classify(b"\xff\x00\xfe").holder == "unclassified"
    assert MAP.classify(b"acme:\xff\x00").tenants == (one("acme").id,)


def test_names_of_any_length_are_read() -> None:
    """Thousands of separators, with a tenant among them or without, and no time lost on them."""
    acme, filler = one("acme"), b"a:" * 20_000
    assert MAP.classify(b"job_checkpoint:" + filler + b":acme").tenants == (acme.id,)
    assert MAP.classify(b"emb:acme:" + filler + b":00ff").tenants == (acme.id,)
    assert MAP.classify(b"acme:" + filler).tenants == (acme.id,)
    assert MAP.classify(b"emb:removed:" + filler + b":00ff").holder == "unclassified"
    assert MAP.classify(b"emb:removed:" + filler).holder == "unclassified"


def test_the_doubled_stream_is_of_one_tenant() -> None:
    acme, other = one("acme"), one("1")
    found = MAP.classify(f"governance:events:{acme.id}:{acme.slug}".encode())
    assert (found.holder, found.tenants) == ("tenant", (acme.id,))
    assert MAP.classify(f"governance:events:{acme.id}:{other.id}".encode()).holder == "unknown"


@pytest.mark.parametrize(
    ("document", "holder", "slugs_found"),
    [
        ({"allowed_tenant_ids": ["acme"]}, "tenant", ["acme"]),
        ({"allowed_tenant_ids": ["acme", "1"]}, "several", ["acme", "1"]),
        ({"allowedTenantIds": ["acme", "gone"]}, "several", ["acme"]),
        ({"allowed_tenant_ids": ["gone"]}, "unknown", []),
        ({"allowed_tenant_ids": []}, "nobody", []),
        ({"allowed_tenant_ids": "acme"}, "tenant", ["acme"]),
        ({"allowed_tenant_ids": [None, 3, {"a": 1}]}, "nobody", []),
        ([1, 2], "nobody", []),
    ],
)
def test_a_tenant_inside_the_value(document: object, holder: str, slugs_found: list[str]) -> None:
    key = MAP.classify(b"aeterna:git_provider_connections:1")
    assert key.reads_value
    found = MAP.in_value(key, json.dumps(document).encode())
    assert found.holder == holder
    assert set(found.tenants) == {one(slug).id for slug in slugs_found}


@pytest.mark.parametrize("value", [None, b"", b"\x00\xff", b"{", b"[" * 100_000])
def test_a_value_that_is_no_json_is_said_to_be_so(value: bytes | None) -> None:
    key = MAP.classify(b"aeterna:export_jobs:1")
    assert MAP.in_value(key, value).holder == "unreadable"


def test_the_index_names_the_key_by_its_last_part() -> None:
    rule = MAP.classify(b"aeterna:dead_letter:7").rule
    assert rule is not None
    assert rule.index == "aeterna:dead_letter:__index"
    assert rule.member(b"aeterna:dead_letter:7") == b"7"


def test_channels_are_in_the_map_and_no_keys() -> None:
    assert {rule.pattern.text for rule in MAP.channels()} == {
        "aeterna:tenant:changed",
        "aeterna-ops:placement",
    }
    assert MAP.classify(b"aeterna:tenant:changed").holder == "unclassified"
    assert {line.what for line in described.keys(MAP)} == {"key", "channel"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"pattern": None},
        {"pattern": ""},
        {"pattern": "a:{tenant"},
        {"pattern": "a:{one}{two}"},
        {"pattern": "a:{one*}:{two*}"},
        {"pattern": 3},
        {"type": "module"},
        {"role": "treasure"},
        {"ttl": None},
        {"paths": "tenant_id"},
        {"paths": [""]},
        {"pattern": "a:{tenant}", "paths": ["tenant_id"]},
        {"rebuildable": "yes"},
        {"rebuildible": True},
    ],
)
def test_a_malformed_rule_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError) as refused:
        parse(entry(**wrong))
    assert refused.value.code == "rules_invalid"
    assert "it" in refused.value.message
