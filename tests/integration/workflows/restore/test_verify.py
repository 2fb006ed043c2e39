"""``restore verify``: the servers as they are against a manifest; each difference has a name."""

import json
from typing import Any

import pytest

from aeterna_cli.lab.qdrant_process import API_KEY
from aeterna_cli.lab.requests import request
from aeterna_cli.lab.valkey import client
from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration


def codes(data: dict[str, Any]) -> set[str]:
    return {finding["code"] for one in data["compared"] for finding in one["findings"]}


def test_an_untouched_deployment_is_equal_and_says_so(practice: Practice) -> None:
    made = practice.backup()
    ran = practice.cli.ok("restore", "verify", "--backup", made["backup"])
    assert ran.schema == "aeterna.restore.verify/1"
    assert ran.data["backup"] == made["backup"]
    assert {(one["store"], one["drift"]) for one in ran.data["compared"]} == {
        ("postgres", False),
        ("qdrant", False),
        ("redis", False),
        ("cross-store", False),
    }
    text = practice.cli.ok("restore", "verify", "-o", "table").out
    assert "equal" in text
    assert "DRIFT" not in text


def test_what_differs_is_named_store_by_store(practice: Practice) -> None:
    practice.backup()
    with practice.sql() as connection:
        connection.execute("UPDATE memory_entries SET content = 'another'")
    with client(practice.lab.place()) as server:
        server.set("a-key-that-was-not-there", "1")
    ran = practice.cli("restore", "verify")
    try:
        assert ran.code == 8
        assert ran.error["code"] == "restore_drift"
        drifted = {one["store"] for one in ran.data["compared"] if one["drift"]}
        assert drifted == {"postgres", "redis"}
        shown = practice.cli("restore", "verify", "-o", "table")
        assert (shown.code, "DRIFT" in shown.out) == (8, True)
    finally:
        with client(practice.lab.place()) as server:
            server.delete("a-key-that-was-not-there")
        practice.cli.ok("restore", "run", "--confirm", NAME)
    assert codes(practice.cli.ok("restore", "verify").data) == set()


def test_rows_that_lost_their_point_are_counted(practice: Practice) -> None:
    """The cross-store check sees what neither store alone could."""
    practice.backup()
    with practice.sql() as connection:
        connection.execute("DELETE FROM memory_entries")
    ran = practice.cli("restore", "verify")
    practice.cli.ok("restore", "run", "--store", "postgres", "--confirm", NAME)
    assert ran.code == 8
    assert "orphans_differ" in codes(ran.data)
    practice.cli.ok("restore", "verify")


def ask_qdrant(practice: Practice, method: str, path: str, **fields: Any) -> Any:
    place = practice.lab.place()
    headers = {"api-key": place.secrets.read(API_KEY) or "", "content-type": "application/json"}
    answer = request(
        method, place.ports["qdrant"], path, headers=headers, body=json.dumps(fields).encode()
    )
    assert answer.status == 200, answer.body
    return answer.document()["result"]


def test_every_way_in_which_collections_differ_is_named(practice: Practice) -> None:
    practice.backup()
    names = sorted(
        one["name"]
        for one in ask_qdrant(practice, "GET", "/collections")["collections"]
        if not one["name"].startswith("aeterna_ops")
    )
    shrunk, changed, gone = names[:3]
    points = {
        name: ask_qdrant(practice, "POST", f"/collections/{name}/points/scroll", limit=1)["points"]
        for name in (shrunk, changed)
    }
    (first,), (second,) = points[shrunk], points[changed]
    ask_qdrant(
        practice, "POST", f"/collections/{shrunk}/points/delete?wait=true", points=[first["id"]]
    )
    ask_qdrant(
        practice,
        "POST",
        f"/collections/{changed}/points/payload?wait=true",
        payload={"somebody": "was here"},
        points=[second["id"]],
    )
    ask_qdrant(practice, "DELETE", f"/collections/{gone}")
    ask_qdrant(practice, "PUT", "/collections/unheard_of", vectors={"size": 4, "distance": "Dot"})
    ran = practice.cli("restore", "verify")
    try:
        (qdrant,) = [one for one in ran.data["compared"] if one["store"] == "qdrant"]
        found = {(one["code"], one["subject"]): one["message"] for one in qdrant["findings"]}
        assert found.keys() == {
            ("collection_differs", f"qdrant: {shrunk}"),
            ("collection_differs", f"qdrant: {changed}"),
            ("collection_missing", f"qdrant: {gone}"),
            ("collection_unexpected", "qdrant: unheard_of"),
        }
        assert "are not the same points" in found["collection_differs", f"qdrant: {changed}"]
        assert "were captured" in found["collection_differs", f"qdrant: {shrunk}"]
    finally:
        ask_qdrant(practice, "DELETE", "/collections/unheard_of")
        practice.cli.ok("restore", "run", "--store", "qdrant", "--confirm", NAME)
    assert codes(practice.cli.ok("restore", "verify").data) == set()


def test_a_backup_of_one_store_is_compared_alone(practice: Practice) -> None:
    practice.backup("--store", "redis")
    (one,) = practice.cli.ok("restore", "verify").data["compared"]
    assert (one["store"], one["items"]) == ("redis", "keys")


@pytest.mark.parametrize(
    ("words", "environment", "exit_code"),
    [
        (("--backup", "20200101T000000Z-000000"), {}, 7),
        (("--backup", "nonsense"), {}, 2),
        ((), {"AETERNA_REDIS__PORT": "1"}, 4),
        ((), {"AETERNA_REDIS__PASSWORD": "x7-not-the-password"}, 6),
    ],
)
def test_what_cannot_be_judged_is_an_error_and_no_finding(
    practice: Practice,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    environment: dict[str, str],
    exit_code: int,
) -> None:
    practice.backup("--store", "redis")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = practice.cli("restore", "verify", *words)
    assert ran.code == exit_code, ran.err
    assert "Traceback" not in ran.err
    assert "x7-not-the-password" not in ran.err
