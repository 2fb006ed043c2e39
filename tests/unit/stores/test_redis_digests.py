"""The comparison of digests: loss is told from expiry, hour by hour."""

from dataclasses import replace
from datetime import UTC, datetime

from aeterna_cli.stores.base.redis import Digest, RedisDigests
from aeterna_cli.stores.redis_digests import compare

HOUR = 500_000
NOW = datetime.fromtimestamp(HOUR * 3600 + 1800, UTC)


def digest(items: int, mark: str = "a") -> Digest:
    return Digest(items, mark * 64)


def made(hours: dict[int, Digest], persistent: Digest | None = None) -> RedisDigests:
    total = Digest(sum(one.items for one in hours.values()), "0" * 64)
    return RedisDigests(persistent or digest(5), total, hours, {0: 5}, {"p": 5})


def codes(expected: RedisDigests, found: RedisDigests) -> list[str]:
    return [finding.code for finding in compare(expected, found, NOW)]


def test_equal_digests_give_no_finding() -> None:
    one = made({HOUR: digest(3)})
    assert codes(one, one) == []


def test_keys_without_a_time_are_exact() -> None:
    one = made({})
    assert codes(one, replace(one, persistent=digest(5, "b"))) == ["redis_persistent_differs"]


def test_a_past_or_present_hour_may_lose_keys() -> None:
    before = made({HOUR - 1: digest(3), HOUR: digest(4), HOUR + 1: digest(2)})
    after = made({HOUR: digest(1, "b"), HOUR + 1: digest(2)})
    assert codes(before, after) == ["redis_expired"]


def test_a_future_hour_may_not() -> None:
    before = made({HOUR + 1: digest(2)})
    assert codes(before, made({})) == ["redis_volatile_differs"]
    assert codes(before, made({HOUR + 1: digest(2, "b")})) == ["redis_volatile_differs"]


def test_no_hour_may_gain_or_change_keys() -> None:
    before = made({HOUR: digest(2)})
    assert codes(before, made({HOUR: digest(2, "b")})) == ["redis_volatile_differs"]
    assert codes(before, made({HOUR: digest(3, "b")})) == ["redis_volatile_differs"]
    assert codes(made({}), made({HOUR - 1: digest(1)})) == ["redis_volatile_differs"]


def test_a_document_is_read_back() -> None:
    one = made({HOUR: digest(3)})
    assert RedisDigests.from_document(one.as_document()) == one
