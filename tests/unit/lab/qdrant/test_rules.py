"""Versions, refusals, strict mode, faults, arguments: what decides without a shard."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("qdrant_edge")

from aeterna_cli.errors import UsageError
from aeterna_cli.lab.qdrant.__main__ import arguments
from aeterna_cli.lab.qdrant.collection import fallback_keys, key_list
from aeterna_cli.lab.qdrant.faults import Fault, Faults
from aeterna_cli.lab.qdrant.recovery import check_arguments
from aeterna_cli.lab.qdrant.refusals import Refusal, from_engine
from aeterna_cli.lab.qdrant.strict import check_batch, check_limit
from aeterna_cli.lab.qdrant.versions import Version


@pytest.mark.parametrize(
    ("version", "feature", "known"),
    [
        ("1.15.5", "point_replication", False),
        ("1.16.0", "point_replication", True),
        ("1.15.4", "conditional_update", False),
        ("1.16.1", "list_shard_keys", False),
        ("1.16.2", "list_shard_keys", True),
        ("1.18.2", "point_search", True),
        ("1.19.0", "point_search", False),
    ],
)
def test_features_by_version(version: str, feature: str, known: bool) -> None:
    assert Version.parse(version).has(feature) is known


@pytest.mark.parametrize("text", ["", "1.16", "v1.16.0", "2.0.0", "1.16.0-dev"])
def test_other_versions_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Version.parse(text)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Exception("Vector dimension error: expected dim: 4, got 2"), 400),
        (Exception("Not existing vector name error: zz"), 400),
        (Exception("No point with id 7"), 404),
        (KeyError("points"), 400),
        (Exception("Service runtime error: failed to open WAL"), 500),
    ],
)
def test_whose_fault_the_engine_says_it_is(error: Exception, status: int) -> None:
    assert from_engine(error).status == status


def test_strict_mode_counts_only_when_enabled() -> None:
    limits = {"upsert_max_batchsize": 2, "max_query_limit": 5}
    off, on = ({"strict_mode_config": {"enabled": flag, **limits}} for flag in (False, True))
    check_batch(off, 3)
    check_limit(off, 6)
    check_batch(on, 2)
    check_limit(on, 5)
    with pytest.raises(Refusal):
        check_batch(on, 3)
    with pytest.raises(Refusal):
        check_limit(on, 6)


def test_selectors() -> None:
    assert key_list("a") == ["a"]
    assert key_list(["a", 7]) == ["a", 7]
    selector = {"target": "t", "fallback": "shared"}
    assert fallback_keys(selector, True) == ("t", "shared")
    with pytest.raises(Refusal):
        fallback_keys(selector, False)
    for wrong in (True, 1.5, [None]):
        with pytest.raises(Refusal):
            key_list(wrong)


def strikes(fault: dict[str, Any], *requests: tuple[str, str]) -> list[Any]:
    """What happens to each request: the refusal's status, or the wish for its answer."""
    faults = Faults()
    faults.current = Fault.parse(fault)
    found: list[Any] = []
    for method, path in requests:
        try:
            found.append(asyncio.run(faults.before(method, path)))
        except Refusal as refusal:
            found.append(refusal.status)
    return found


READ, WRITE = ("GET", "/collections"), ("PUT", "/collections/c/points")
STREAM = ("GET", "/collections/c/shards/0/snapshot")


def test_which_requests_a_fault_strikes() -> None:
    assert strikes({"every": "503"}, READ, STREAM) == [503, 503]
    assert strikes({"every": "503"}, ("POST", "/lab/faults")) == [None]
    assert strikes({"snapshot": "refuse"}, READ, STREAM) == [None, 403]
    assert strikes({"snapshot": "truncate"}, STREAM) == ["truncate"]
    assert strikes({"every": "429", "path": "/points"}, READ, WRITE) == [None, 429]
    assert strikes({"every": "500", "method": "PUT"}, READ, WRITE) == [None, 500]
    assert strikes({"every": "lost", "after": 1, "times": 1}, *[WRITE] * 3) == [None, "lost", None]


@pytest.mark.parametrize("fault", [{"snapshots": "refuse"}, {"snapshot": "x"}, {"every": "200"}])
def test_unknown_faults_are_refused(fault: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        Fault.parse(fault)


@pytest.mark.parametrize(
    ("priority", "checksum", "status"), [("latest", None, 400), (None, "abc", 422)]
)
def test_recovery_arguments(priority: Any, checksum: Any, status: int) -> None:
    check_arguments("snapshot", "0" * 64)
    with pytest.raises(Refusal) as caught:
        check_arguments(priority, checksum)
    assert caught.value.status == status


def test_both_names_of_the_data_directory() -> None:
    for name in ("--data", "--data-dir"):
        assert str(arguments([name, "d", "--port", "1"]).data_dir) == "d"
