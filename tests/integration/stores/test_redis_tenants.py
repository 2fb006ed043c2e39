"""One SCAN tells whose every key is: exactly what the seed wrote, and nobody's taken for his."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeterna_cli.datamap import rules
from aeterna_cli.datamap.keys import KeyClass, KeyMap
from aeterna_cli.errors import AuthenticationError, InterruptedByUser
from aeterna_cli.lab import profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.key_shapes import seed_keys
from aeterna_cli.lab.valkey import client
from aeterna_cli.stores.redis_tenants import LONGEST_VALUE, RedisTenants
from tests.integration.stores.redis_server import LabRedis
from tests.integration.stores.tenant_lab import EVERYONE, IDENTITIES, IDS, SEED
from tests.unit.datamap.given_tenants import HOSTILE, NEIGHBOURS, one

pytestmark = pytest.mark.integration
RULES = rules.load()
JUDGE = KeyMap.of(RULES, IDENTITIES)
NEAR = KeyMap.of(RULES, NEIGHBOURS)


@pytest.fixture
def tenants(lab: Lab) -> Iterator[RedisTenants]:
    opened = RedisTenants(profile.build(lab.place()).redis)
    yield opened
    opened.close()


def test_what_the_seed_wrote_is_what_is_found(lab: Lab, tenants: RedisTenants) -> None:
    seen: dict[str, KeyClass] = {}
    tally = tenants.tally(JUDGE, each=lambda key, found: seen.update({key.decode(): found}))
    wrote = {key.name: key for key in seed_keys(SEED, EVERYONE)}
    assert wrote.keys() <= seen.keys()
    for name, key in wrote.items():
        assert set(seen[name].tenants) == {IDS[slug] for slug in key.tenants}, name
        assert key.index is None or seen[key.index].holder == "index"
    counts = Counter(slug for key in wrote.values() for slug in key.tenants)
    assert {slug: tally.of(IDS[slug]).count for slug in IDS} == {
        slug: counts.get(slug, 0) for slug in IDS
    }
    assert counts["vacant-ltd"] == 0
    assert all(tally.of(IDS[slug]).bytes > 0 for slug in counts)
    assert tally.shared["git provider connection"].count == 1
    assert tally.unclassified == {}
    assert set(tally.others) <= {"nobody", "index", "ours"}
    with client(lab.place()) as server:
        assert tally.total.count == server.dbsize()


def test_every_shape_of_key_is_in_the_seed(tenants: RedisTenants) -> None:
    seen: set[str] = set()
    tenants.tally(JUDGE, sizes=False, each=lambda _key, found: seen.add(found.rule_name))
    assert {rule.name for rule in JUDGE.rules if not rule.channel and rule.role != "ours"} <= seen


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[LabRedis]:
    server = LabRedis(tmp_path / "redis").start()
    yield server
    server.kill()


def test_neighbours_hostile_names_and_strangers(scratch: LabRedis) -> None:
    keys: dict[str, object] = {
        "emb:tenant-1:m:0": "tenant-1",
        "emb:tenant-11:m:0": "tenant-11",
        "emb:tenant-11:m:1": "tenant-11",
        f"reasoning:{HOSTILE}:7": HOSTILE,
        f"{HOSTILE}:a:b": HOSTILE,
        "governance:events:acme-corp:acme-corp": "acme-corp",
        "emb:removed:m:0": None,
        "sess:17:4": None,
        "sess:18:4": None,
    }
    for key in keys:
        scratch.call("SET", key, "x")
    tenants = RedisTenants(scratch.settings())
    tally = tenants.tally(NEAR)
    tenants.close()
    wanted = Counter(slug for slug in keys.values() if slug is not None)
    assert {slug: tally.of(one(str(slug)).id).count for slug in wanted} == dict(wanted)
    assert tally.others["unknown"]["embedding cache"].count == 1
    ((shape, found),) = tally.unclassified.items()
    assert (shape, found.volume.count) == ("sess:<n>:<n>", 2)
    assert found.sample in keys
    assert tally.total.count == len(keys)


def test_values_that_tell_nothing(scratch: LabRedis) -> None:
    """Wrong type, no JSON, far too long, a stranger: counted, said, and nobody's."""
    shared = {"allowed_tenant_ids": ["acme", "acme-corp", "gone"]}
    scratch.call("SADD", "aeterna:export_jobs:a", "member")
    scratch.call("SET", "aeterna:export_jobs:b", b"\x00\xff")
    scratch.call("SET", "aeterna:export_jobs:c", b'"' + b"x" * LONGEST_VALUE + b'"')
    scratch.call("SET", "aeterna:export_jobs:d", json.dumps({"tenant_id": "gone"}))
    scratch.call("SET", "aeterna:export_jobs:e", json.dumps({"scope": {"tenant_id": "1"}}))
    scratch.call("SET", "aeterna:git_provider_connections:f", json.dumps(shared))
    tenants = RedisTenants(scratch.settings())
    tally = tenants.tally(NEAR)
    tenants.close()
    assert tally.others["unreadable"]["export job"].count == 3
    assert tally.others["unknown"]["export job"].count == 1
    assert tally.of(one("1").id).count == 1
    assert tally.of(one("11").id).count == 0
    assert tally.of(one("acme").id).count == tally.of(one("acme-corp").id).count == 1
    assert tally.shared["git provider connection"].count == 1


def test_shapes_of_unknown_keys_are_bounded(scratch: LabRedis) -> None:
    for number in range(150):
        name = "".join(chr(97 + int(digit)) for digit in str(number))
        scratch.call("SET", f"unheard-{name}:of", "x")
    tenants = RedisTenants(scratch.settings())
    tally = tenants.tally(NEAR, sizes=False)
    tenants.close()
    assert len(tally.unclassified) == 101
    assert sum(found.volume.count for found in tally.unclassified.values()) == 150
    assert tally.total.bytes == 0


def test_a_user_who_may_not_ask_for_sizes_still_gets_counts(scratch: LabRedis) -> None:
    scratch.call("SET", "emb:acme:m:0", "x")
    scratch.call("ACL", "SETUSER", "poor", "on", ">secret", "~*", "+scan", "+getrange", "+select")
    tenants = RedisTenants(scratch.settings(user="poor", password="secret"))
    tally = tenants.tally(NEAR)
    tenants.close()
    assert (tally.of(one("acme").id).count, tally.total.bytes) == (1, 0)


def test_a_user_who_may_not_read_values_is_refused(scratch: LabRedis) -> None:
    """Counted as nobody's, those keys would be a lie."""
    scratch.call("SET", "aeterna:export_jobs:a", "{}")
    scratch.call("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+scan")
    tenants = RedisTenants(scratch.settings(user="blind", password="secret"))
    with pytest.raises(AuthenticationError):
        tenants.tally(NEAR)
    tenants.close()


def test_a_stop_ends_the_scan(scratch: LabRedis) -> None:
    scratch.call("SET", "a", "b")
    tenants = RedisTenants(scratch.settings())
    with pytest.raises(InterruptedByUser):
        tenants.tally(NEAR, stop=lambda: True)
    tenants.close()
