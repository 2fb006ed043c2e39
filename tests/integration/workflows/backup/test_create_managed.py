"""Managed servers that hand out no images: everything is read piece by piece, and said so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.http_proxy import Fault, Request, fault_proxy
from tests.integration.deployment import NAME, Practice
from tests.integration.stores.redis_server import PASSWORD, LabRedis

pytestmark = pytest.mark.integration


@pytest.fixture
def managed(practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Redis without PSYNC and without ACL, as managed services are; the profile means it."""
    refused = ('rename-command PSYNC ""', 'rename-command SYNC ""', 'rename-command ACL ""')
    server = LabRedis(tmp_path / "managed", *refused).start()
    monkeypatch.setenv("AETERNA_REDIS__PORT", str(server.port))
    monkeypatch.setenv("AETERNA_REDIS__PASSWORD", PASSWORD)
    monkeypatch.delenv("AETERNA_REDIS__USER", raising=False)
    try:
        yield server
    finally:
        server.kill()


def differences(data: dict[str, Any]) -> list[str]:
    return [
        f"{one['store']} {finding['code']}"
        for one in data["compared"]
        for finding in one["findings"]
    ]


def test_redis_without_replication_is_read_key_by_key(practice: Practice, managed: Any) -> None:
    for number in range(300):
        managed.call("SET", f"t1:memory:{number}", f"value {number}")
    managed.call("HSET", "session:t1:a", "name", "\u00e4 %s *", "state", "open")
    made = practice.backup("--store", "redis")
    assert any("not a point in time" in note for note in made["notes"])
    shown = practice.cli.ok("backup", "show", made["backup"])
    assert "redis was read key by key: not a point in time" in shown.out
    managed.call("SET", "came:after", "the backup")
    managed.call("DEL", "t1:memory:7")
    data = practice.cli.ok("restore", "run", "--store", "redis", "--confirm", NAME).data
    assert managed.call("GET", "t1:memory:7") == b"value 7"
    assert managed.call("EXISTS", "came:after") == 0, "the target holds the backup and no more"
    assert differences(data) == []
    assert practice.cli.ok("restore", "verify").data["compared"]
    practice.cli.ok("backup", "verify", made["backup"], "--restore")


def test_qdrant_without_snapshots_is_read_by_scroll(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(request: Request) -> Fault | None:
        return Fault(status=403, code="Forbidden") if "/snapshot" in request.path else None

    with fault_proxy(practice.lab.place().url("qdrant")) as proxy, monkeypatch.context() as patched:
        proxy.rule = forbidden
        patched.setenv("AETERNA_QDRANT__URL", proxy.address)
        made = practice.backup("--store", "qdrant")
    assert any("scroll" in note for note in made["notes"])
    practice.destroy("qdrant")
    data = practice.cli.ok("restore", "run", "--store", "qdrant", "--confirm", NAME).data
    assert differences(data) == []
    assert practice.cli.ok("restore", "verify").data["compared"]
    practice.cli.ok("backup", "verify", made["backup"], "--restore")
