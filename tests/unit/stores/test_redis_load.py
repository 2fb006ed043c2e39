"""Which server reads what which other one writes."""

import pytest

from aeterna_cli.stores.redis_load import Version, readable_by

REDIS_70: Version = ("redis", (7, 0, 15))
REDIS_72: Version = ("redis", (7, 2, 4))
REDIS_80: Version = ("redis", (8, 0, 1))
VALKEY_8: Version = ("valkey", (8, 1, 0))
VALKEY_9: Version = ("valkey", (9, 1, 2))


@pytest.mark.parametrize(
    ("target", "source", "readable"),
    [
        (REDIS_70, REDIS_70, True),
        (REDIS_80, REDIS_70, True),
        (REDIS_70, REDIS_72, False),
        (REDIS_70, VALKEY_8, False),
        (REDIS_72, VALKEY_9, True),
        (VALKEY_8, VALKEY_9, True),
        (VALKEY_9, REDIS_72, True),
        (VALKEY_9, REDIS_80, False),
    ],
)
def test_readable_by(target: Version, source: Version, readable: bool) -> None:
    assert readable_by(target, source) is readable
