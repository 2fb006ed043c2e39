"""``config test``: every store is asked once, and each says what is wrong with it."""

from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab.openbao import MOUNT, ROOT_TOKEN
from tests.faults.certificate import authority
from tests.integration.deployment import Practice

__all__ = ["authority"]

pytestmark = pytest.mark.integration

SECRET = "x7-not-the-password"
STORES = ["postgres", "qdrant", "redis", "repository", "keys"]


def answers(practice: Practice, *, code: int) -> dict[str, dict[str, Any]]:
    """What ``config test`` said of each store; it must have ended with this exit code."""
    ran = practice.cli("config", "test")
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    assert SECRET not in ran.out + ran.err
    return {one["store"]: one for one in ran.data}


def test_every_store_answers(practice: Practice) -> None:
    found = answers(practice, code=0)
    assert list(found) == STORES
    assert all(one["ok"] for one in found.values())
    assert found["postgres"]["answer"].endswith("primary")
    assert found["repository"]["identity"] == practice.open().repository.info.uuid
    table = practice.cli.ok("config", "test", "-o", "table").out
    assert "profile practice" in table


@pytest.mark.parametrize(
    "case",
    [
        ("postgres", "POSTGRES__PASSWORD", SECRET, "postgres_login_refused"),
        ("postgres", "POSTGRES__PORT", "1", "postgres_unreachable"),
        ("redis", "REDIS__PASSWORD", SECRET, ""),
        ("redis", "REDIS__PORT", "1", "redis_unreachable"),
        ("qdrant", "QDRANT__API_KEY", SECRET, ""),
        ("qdrant", "QDRANT__URL", "http://127.0.0.1:1", "qdrant_unreachable"),
        ("repository", "DEPLOYMENT", "another", "repository_foreign"),
        ("keys", "KEYS__ADDRESS", "http://127.0.0.1:1", ""),
        ("keys", "KEYS__TOKEN", SECRET, ""),
        ("keys", "KEYS__KEY_NAME", "nobody-made-this", ""),
    ],
)
def test_what_does_not_answer_is_one_line_and_the_rest_is_asked(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, case: tuple[str, str, str, str]
) -> None:
    store, variable, value, code = case
    monkeypatch.setenv(f"AETERNA_{variable}", value)
    found = answers(practice, code=8)
    assert [name for name, one in found.items() if not one["ok"]] == [store]
    assert found[store]["code"]
    assert not code or found[store]["code"] == code


def test_a_server_without_the_wanted_certificate_is_not_trusted(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, authority: Path
) -> None:
    for store in ("POSTGRES", "REDIS"):
        monkeypatch.setenv(f"AETERNA_{store}__TLS__ENABLED", "true")
        monkeypatch.setenv(f"AETERNA_{store}__TLS__CA_FILE", str(authority))
    found = answers(practice, code=8)
    assert [name for name, one in found.items() if not one["ok"]] == ["postgres", "redis"]


def test_a_key_that_no_backup_could_use_does_not_pass(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key service answers, but its key is not derived: backups would be refused later."""
    import httpx

    place = practice.lab.place()
    root = place.secrets.read(ROOT_TOKEN)
    assert root is not None
    httpx.post(
        f"{place.url('vault')}/v1/{MOUNT}/keys/underived", headers={"X-Vault-Token": root}
    ).raise_for_status()
    monkeypatch.setenv("AETERNA_KEYS__TOKEN", root)
    monkeypatch.setenv("AETERNA_KEYS__KEY_NAME", "underived")
    found = answers(practice, code=8)["keys"]
    assert not found["ok"]
    assert root not in found["answer"]
