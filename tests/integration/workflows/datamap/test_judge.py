"""``datamap check`` on Qdrant, Redis and the buckets: what no rule knows, and what nobody saw."""

import json
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.seed.tenants import HOSTILE
from aeterna_cli.lab.valkey import client
from aeterna_cli.stores.redis_privileges import PASSWORD_HASH, password_hash
from tests.command_line import CommandLine
from tests.integration.deployment import Practice, forget_strangers, practise
from tests.integration.workflows.datamap.foreign import Foreign, foreign

pytestmark = pytest.mark.integration

LEDGER = Foreign(
    tables=("ledger",),
    collections=("ledger_vectors",),
    keys=(
        "ledger:alice@example.com:42",
        "ledger:bob@example.com:43",
        "ledger:acme-corp:0123456789abcdef",
        "ledger:Carol:42",
    ),
    objects=("ledger/Dave Miller/acme-corp/2026.bin", "NOTES.txt"),
    points=({"owner": "acme-corp"},),
)
RULES = """
[[table]]
name = "ledger"
scope = "infrastructure"

[[collection]]
name = "ledger"
pattern = "ledger_vectors"
kind = "shared"
field = "owner"

[[key]]
name = "ledger"
pattern = "ledger:{who*}:{number}"
type = "string"
ttl = "none"
role = "state"

[[object]]
name = "ledger"
pattern = "ledger/{rest*}"
role = "export"

[[object]]
name = "notes"
pattern = "NOTES.txt"
stores = ["application"]
role = "export"
"""
ODD = 'it\'s "odd" *?[a]% 名前 {t}'
ODD_COLLECTION = "it's odd; [a]% 名前 {t}"  # Qdrant refuses the other characters
ODDITIES = Foreign(
    tables=(ODD,),
    collections=(ODD_COLLECTION,),
    keys=(f"{ODD}:\n\x1b[31m:%s", f"odd:{HOSTILE}:1", "{tenant}:x", ":", "odd:" + "y" * 5000),
    objects=("odd/%s/{tenant}/" + "z" * 100, "odd//\u202e/é.tar.gz"),
)


def found(data: dict[str, Any], *severities: str) -> dict[tuple[str, str], dict[str, Any]]:
    wanted = severities or ("error", "warning")
    return {
        (one["code"], one["subject"]): one for one in data["findings"] if one["severity"] in wanted
    }


def at(
    lab: Lab, cli: CommandLine, folder: Path, patch: pytest.MonkeyPatch, **sections: Any
) -> Practice:
    folder.mkdir(exist_ok=True)
    forget_strangers(lab)
    return practise(lab, cli, folder, patch, **sections)


def test_what_no_rule_knows_is_named_in_every_store(practice: Practice) -> None:
    with foreign(practice, LEDGER):
        ran = practice.cli("datamap", "check")
    assert (ran.code, ran.error["code"]) == (8, "datamap_findings")
    errors = found(ran.data)
    assert set(errors) == {
        ("table_unclassified", "ledger"),
        ("collection_unclassified", "ledger_vectors"),
        ("key_unclassified", "ledger:{text}:{number}"),
        ("key_unclassified", "ledger:{tenant}:{hex}"),
        ("object_unclassified", "application: ledger/{text}/{tenant}/{text}.bin"),
        ("object_unclassified", "application: NOTES.txt"),
    }
    one = errors[("key_unclassified", "ledger:{text}:{number}")]
    assert one["details"]["count"] == 3
    assert 'pattern = "ledger:{rest*}"' in one["mend"]
    assert (
        'pattern = "ledger_vectors"'
        in errors[("collection_unclassified", "ledger_vectors")]["mend"]
    )
    for text in ("alice", "bob", "Carol", "Dave", "Miller", "example.com"):
        assert text not in ran.out
    assert not any("acme-corp" in json.dumps(one) for one in errors.values())
    seen = {(one["store"], one["name"]): one for one in ran.data["stores"]}
    assert seen[("redis", "")]["seen"] - seen[("redis", "")]["classified"] == 4


def test_a_real_name_is_shown_to_who_asks_for_it(practice: Practice) -> None:
    with foreign(practice, Foreign(keys=("ledger:alice@example.com:42",))):
        ran = practice.cli("datamap", "check", "--store", "redis", "--names")
    (one,) = found(ran.data).values()
    assert one["details"]["sample"] == "ledger:alice@example.com:42"


def test_rules_of_the_profile_classify_them(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "rules.toml"
    written.write_text(RULES, encoding="utf-8")
    here = at(lab, cli, tmp_path / "a", monkeypatch, datamap={"rules": [str(written)]})
    with foreign(here, LEDGER):
        data = here.cli.ok("datamap", "check").data
        shown = here.cli.ok("datamap", "show", "--store", "qdrant").data
    assert all(one["seen"] == one["classified"] for one in data["stores"])
    (mine,) = [one for one in shown["collections"] if one["collection"] == "ledger_vectors"]
    assert (mine["kind"], mine["field"], mine["rule"]) == ("shared", "owner", "ledger")


def test_hostile_names_are_told_and_harm_nobody(practice: Practice) -> None:
    with foreign(practice, ODDITIES):
        for form in ("json", "table", "csv", "ndjson"):
            ran = practice.cli("datamap", "check", "--names", "-o", form)
            assert ran.code == 8, ran.err
            assert "Traceback" not in ran.err
            assert "\x1b" not in ran.out
        errors = found(practice.cli("datamap", "check").data)
    assert ("collection_unclassified", ODD_COLLECTION) in errors
    keys = [subject for code, subject in errors if code == "key_unclassified"]
    assert sorted(keys) == sorted(
        ["{text}:{text}:{text}", "odd:{tenant}:{number}", "{text}:{text}", ":", "odd:{text}"]
    )
    objects = [subject for code, subject in errors if code == "object_unclassified"]
    assert len(objects) == 2


def test_a_rule_that_looks_for_the_tenant_in_the_wrong_field_is_found(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "rules.toml"
    written.write_text(RULES.replace('"owner"', '"customer"'), encoding="utf-8")
    here = at(lab, cli, tmp_path / "a", monkeypatch, datamap={"rules": [str(written)]})
    with foreign(here, LEDGER):
        ran = here.cli("datamap", "check", "--store", "qdrant")
    assert ran.code == 8
    assert set(found(ran.data)) == {("collection_field_missing", "ledger_vectors")}


def test_what_a_removed_tenant_left_and_values_nobody_can_read(practice: Practice) -> None:
    left = Foreign(
        collections=("aeterna_removed-inc",),
        keys=("governance:events:removed-inc", "emb:removed-inc:m:0123", "aeterna:dead_letter:1"),
        objects=("graph/removed-inc/full_1.parquet",),
    )
    with foreign(practice, left):
        ran = practice.cli("datamap", "check")
    assert ran.code == 8
    assert set(found(ran.data)) == {
        ("collection_of_nobody", "aeterna_removed-inc"),
        ("key_of_nobody", "governance:events:{tenant}"),
        ("key_type_differs", "governance:events:{tenant}"),
        ("key_unreadable", "aeterna:dead_letter:{id}"),
        ("object_of_nobody", "application: graph/{tenant}/{file}"),
    }
    assert ("key_of_nobody", "emb:{tenant}:{model}:{hash}") in found(ran.data, "info")


@pytest.mark.parametrize(
    "case",
    [
        ("qdrant", {"url": "http://127.0.0.1:9"}, "qdrant"),
        ("redis", {"port": 9}, "redis"),
        ("object_stores", {"application": {"url": "s3://there-is-none"}}, "objects: application"),
    ],
)
def test_a_store_that_does_not_answer_is_a_finding_and_the_others_are_judged(
    practice: Practice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, dict[str, Any], str],
) -> None:
    section, values, store = case
    tree = lab_profile.tree(practice.lab.place())
    if section == "object_stores":
        bucket = tree["object_stores"]["application"]
        values = {"application": {**bucket, **values["application"]}}
    changed = {section: {**values, **({"timeout": 2} if section != "object_stores" else {})}}
    here = at(practice.lab, practice.cli, tmp_path / "a", monkeypatch, **changed)
    ran = here.cli("datamap", "check")
    assert ran.code == 8
    assert set(found(ran.data)) == {("store_not_checked", store)}
    judged = {one["store"]: one["judged"] for one in ran.data["stores"]}
    name = store.partition(":")[0]
    assert judged == {
        one: "no" if one == name else "all" for one in ("postgres", "qdrant", "redis", "objects")
    }


def test_a_key_that_qdrant_does_not_know_is_a_finding(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("not-the-key", encoding="utf-8")
    here = at(lab, cli, tmp_path / "a", monkeypatch, qdrant={"api_key_file": str(key)})
    ran = here.cli("datamap", "check", "--store", "qdrant")
    assert ran.code == 8
    assert "qdrant.api_key_file" in found(ran.data)[("store_not_checked", "qdrant")]["mend"]


def test_a_bucket_that_refuses_our_key_is_told_with_the_policy_that_mends_it(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = lab_profile.tree(lab.place())["object_stores"]["application"]
    refused = {"application": {**bucket, "access_key_id": "nobody"}}
    here = at(lab, cli, tmp_path / "a", monkeypatch, object_stores=refused)
    ran = here.cli("datamap", "check", "--store", "objects")
    assert ran.code == 8
    mend = found(ran.data)[("store_not_checked", "objects: application")]["mend"]
    policy = json.loads(mend.partition(": ")[2])
    assert policy["Action"] == ["s3:ListBucket"]
    assert policy["Resource"] == [f"arn:aws:s3:::{bucket['url'].removeprefix('s3://')}"]


@pytest.mark.parametrize("word", ["scan", "type", "getrange"])
def test_a_redis_user_who_may_not_look_is_told_the_line_that_mends_it(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    password = tmp_path / "password"
    password.write_text("narrow-r1", encoding="utf-8")
    section = {"user": "aeterna_read", "password_file": str(password)}
    here = at(lab, cli, tmp_path / "a", monkeypatch, redis=section)
    with client(lab.place()) as redis:
        first = f"on >narrow-r1 %R~* +@all -{word}".split()
        redis.execute_command("ACL", "SETUSER", "aeterna_read", "reset", *first)
        try:
            ran = here.cli("datamap", "check", "--store", "redis")
            assert ran.code == 8
            one = found(ran.data)[("store_not_checked", "redis")]
            assert word.upper() in one["message"]
            line = one["mend"].replace(PASSWORD_HASH, password_hash("narrow-r1"))
            assert line.startswith("ACL SETUSER aeterna_read ")
            redis.execute_command(*line.split())
            here.cli.ok("datamap", "check", "--store", "redis")
            redis.execute_command("ACL", "SETUSER", "aeterna_read", "-acl|dryrun", f"-{word}")
            blind = here.cli("datamap", "check", "--store", "redis")
            assert blind.code == 8
            assert found(blind.data)[("store_not_checked", "redis")]["mend"] == one["mend"]
        finally:
            redis.execute_command("ACL", "DELUSER", "aeterna_read")


def test_a_sample_says_that_it_is_one(practice: Practice) -> None:
    data = practice.cli.ok("datamap", "check", "--sample", "5").data
    seen = {one["store"]: (one["judged"], one["seen"]) for one in data["stores"]}
    assert seen["redis"] == seen["objects"] == ("sample", 5)
    assert seen["qdrant"][0] == "all"
    subjects = {subject for code, subject in found(data, "info") if code == "sampled"}
    assert subjects == {"redis", "objects: application"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--store", "oracle"), "store_unknown"),
        (("--sample", "0"), "sample_invalid"),
        (("--sample", "many"), "usage"),
    ],
)
def test_words_that_mean_nothing_are_wrong_usage(
    practice: Practice, words: tuple[str, ...], code: str
) -> None:
    ran = practice.cli("datamap", "check", *words)
    assert (ran.code, ran.error["code"]) == (2, code)


def test_without_all_tenants_nothing_else_is_judged(
    lab: Lab, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = at(lab, cli, tmp_path / "a", monkeypatch, postgres={"database": "postgres"})
    ran = here.cli("datamap", "check")
    assert ran.code == 8
    assert {code for code, _ in found(ran.data)} == {"root_missing", "store_not_checked"}
    assert [one["judged"] for one in ran.data["stores"]] == ["all", "no", "no", "no"]
