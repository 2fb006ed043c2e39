"""News of a placement over Redis: heard where somebody listens, a warning where it fails."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from aeterna_cli.stores.base.placement import REDIS_CHANNEL, Placement, PointsPlace
from aeterna_cli.stores.redis_placement import publish
from aeterna_cli.stores.redis_privileges import PASSWORD_HASH, least_privilege_acl, password_hash
from tests.integration.stores.redis_server import PASSWORD, LabRedis

PLACEMENT = Placement(
    "6f1d9f0e-3c1b-4d55-9a0e-2f3f6a1b7c11", PointsPlace("a", "ü"), None, "serving", 3, None,
    datetime.now(UTC),
)  # fmt: skip
pytestmark = pytest.mark.integration


def test_who_listens_hears_it_also_from_the_least_user(tmp_path: Path) -> None:
    import redis

    server = LabRedis(tmp_path / "redis").start()
    try:
        line = least_privilege_acl("backup").replace(PASSWORD_HASH, password_hash("narrow-1"))
        server.call(*line.split())
        narrow = {"user": "aeterna_backup", "password": SecretStr("narrow-1")}
        with (
            redis.Redis(port=server.port, password=PASSWORD) as client,
            client.pubsub(ignore_subscribe_messages=True) as listener,
        ):
            listener.subscribe(REDIS_CHANNEL)
            listener.get_message(timeout=10)
            assert publish(server.settings(**narrow), PLACEMENT) is None
            heard = None
            deadline = time.monotonic() + 30
            while heard is None and time.monotonic() < deadline:
                heard = listener.get_message(timeout=1)
        assert heard is not None
        assert heard["data"].decode() == PLACEMENT.news
        server.call("ACL", "SETUSER", "aeterna_backup", "-publish")
        warning = publish(server.settings(**narrow), PLACEMENT)
        assert warning is not None
        assert "narrow-1" not in warning
    finally:
        server.kill()
    assert "was not told" in str(publish(server.settings(timeout=2), PLACEMENT))
