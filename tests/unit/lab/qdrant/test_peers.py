"""Links, majorities and elections of emulated peers, without a server."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("qdrant_edge")

from aeterna_cli.errors import UsageError
from aeterna_cli.lab.qdrant import peers as module
from aeterna_cli.lab.qdrant.peers import Peers
from aeterna_cli.lab.qdrant.refusals import Refusal
from aeterna_cli.lab.qdrant.replicas import Replicas


def made(tmp_path: Path, count: int = 3) -> Peers:
    return Peers(tmp_path / "peer.json", range(1000, 1000 + count))


def test_ids_are_kept_and_new_ports_are_new_peers(tmp_path: Path) -> None:
    first = list(made(tmp_path, 1).members)
    three = list(made(tmp_path, 3).members)
    assert three[:1] == first
    assert list(made(tmp_path, 3).members) == three
    with pytest.raises(UsageError):
        made(tmp_path, 2)
    with pytest.raises(UsageError):
        Peers(tmp_path / "peer.json", ())


def test_a_single_peer_needs_nobody(tmp_path: Path) -> None:
    alone = Peers(tmp_path / "peer.json", ())
    assert not alone.several
    assert alone.in_consensus(alone.first)
    asyncio.run(alone.agree(alone.first))
    assert alone.commit == 1, "as before there were peers"


@pytest.mark.parametrize(
    ("faults", "members"),
    [
        ({}, {0, 1, 2}),
        ({2: "killed"}, {0, 1}),
        ({2: "cut"}, {0, 1}),
        ({1: "cut", 2: "cut"}, set()),
        ({1: "frozen", 2: "killed"}, set()),
    ],
)
def test_who_is_in_consensus(tmp_path: Path, faults: dict[int, str], members: set[int]) -> None:
    peers = made(tmp_path)
    everybody = list(peers.members.values())
    for number, fault in faults.items():
        everybody[number].fault = fault
    assert {n for n, one in enumerate(everybody) if peers.in_consensus(one)} == members


def test_a_leader_that_is_lost_is_replaced_and_follows_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ELECTION_SECONDS", 0)

    async def scene() -> None:
        peers = made(tmp_path)
        old, new, _ = peers.members.values()
        assert peers.leader is old
        old.fault = "cut"
        peers.follow()
        await peers.agree(new, 1)
        assert (peers.leader, peers.term) == (new, 2)
        assert peers.raft(old)["role"] == "Leader", "in its own eyes"
        assert peers.raft(old)["term"] == 1
        with pytest.raises(Refusal, match="Waiting for consensus operation commit failed"):
            await peers.agree(old, 0)
        old.fault = ""
        peers.follow()
        assert peers.raft(old) == {**peers.raft(new), "role": "Follower"}

    asyncio.run(scene())


def test_the_last_active_replica_is_not_removed(tmp_path: Path) -> None:
    peers = made(tmp_path)
    one, two, three = peers.members
    replicas = Replicas(peers, "c", 0, {one: "Active", two: "Dead"})
    with pytest.raises(Refusal, match="at least one active replica"):
        replicas.remove(one)
    with pytest.raises(Refusal, match="has no replica"):
        replicas.remove(three)
    replicas.remove(two)
    assert list(replicas.states) == [one]


def test_strong_updates_need_the_highest_replica(tmp_path: Path) -> None:
    peers = made(tmp_path)
    replicas = Replicas(peers, "c", 0, dict.fromkeys(peers.members, "Active"))
    highest = peers.members[max(peers.members)]
    if highest is peers.first:
        highest = peers.members[sorted(peers.members)[-2]]
        del replicas.states[peers.first.id]
    highest.fault = "killed"
    with pytest.raises(Refusal, match="Strong ordering"):
        asyncio.run(replicas.take_update(1, "strong"))
    assert replicas.states[highest.id] == "Active"
    assert asyncio.run(replicas.take_update(1, "weak")) is True
    assert replicas.states[highest.id] == "Dead"
    assert asyncio.run(replicas.take_update(1, "medium")) is False
