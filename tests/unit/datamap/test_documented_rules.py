"""The rules in the documentation and the runbook are rules, and say what is said of them."""

import re
from pathlib import Path

import pytest

from aeterna_cli.datamap import collections, keys, objects, rules, table_rules
from aeterna_cli.datamap.collections import classify_all
from aeterna_cli.datamap.keys import KeyMap
from aeterna_cli.datamap.objects import ObjectMap
from aeterna_cli.datamap.rules import Rules
from tests.unit.datamap.given_tenants import NEIGHBOURS, one
from tests.unit.datamap.test_collections import described

ROOT = Path(__file__).parents[3]


def blocks(file: str, fence: str) -> list[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.findall(rf"^```{fence}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [block for block in found if "[[" in block]


def loaded(folder: Path, texts: list[str]) -> Rules:
    file = folder / "rules.toml"
    file.write_text("\n".join(texts), encoding="utf-8")
    return rules.load([file])


def test_every_kind_has_a_worked_example(tmp_path: Path) -> None:
    texts = blocks("docs/formats.md", "toml rules")
    for kind in rules.KINDS:
        assert any(f"[[{kind}]]" in text for text in texts), kind
    found = loaded(tmp_path, texts)
    tables = table_rules.parse(found["table"])
    assert tables["invoices"].tenant_columns == ("customer",)
    assert len(found["key"]) == len(rules.load()["key"]) + 3  # one more replaces a shipped one
    by_name = {rule.name: rule for rule in keys.parse(found)}
    assert by_name["reasoning cache"].ttl == "168h"
    assert by_name["support ticket"].index == "ticket:__index"
    assert by_name["support news"].channel
    assert any(rule.name == "attachments" for rule in objects.parse(found))
    assert any(rule.json_path == "customer" for rule in collections.parse(found))


def test_the_examples_classify_what_they_name(tmp_path: Path) -> None:
    found, acme = loaded(tmp_path, blocks("docs/formats.md", "toml rules")), one("acme")
    key = KeyMap.of(found, NEIGHBOURS).classify(b"support:acme:session:7")
    assert (key.rule_name, key.holder, key.tenants) == ("support session", "tenant", (acme.id,))
    name = f"attachments/{acme.id}/letter.pdf"
    held = ObjectMap.of(found, NEIGHBOURS).classify(name, "support-eu")
    assert (held.rule_name, held.tenants) == ("attachments", (acme.id,))
    assert ObjectMap.of(found, NEIGHBOURS).classify(name, "other").holder == "unclassified"
    names = ("tickets-2026", "tickets_of_acme")
    map_ = classify_all([described(one) for one in names], found, NEIGHBOURS)
    assert [(one.kind, one.tenants) for one in map_.classes] == [
        ("shared", ()), ("tenant", (acme.id,)),
    ]  # fmt: skip


@pytest.mark.parametrize("file", ["runbooks/datamap.md"])
def test_a_runbooks_rules_are_rules(tmp_path: Path, file: str) -> None:
    found = loaded(tmp_path, blocks(file, "toml"))
    assert set(table_rules.parse(found["table"])) >= {"invoices", "feature_flags"}
    for parse in (collections.parse, keys.parse, objects.parse):
        assert len(parse(found)) == len(parse(rules.load())) + 1
