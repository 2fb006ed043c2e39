"""What peers are called, and which one an address without an answer must be."""

import pytest

from aeterna_cli.errors import UsageError
from aeterna_cli.workflows.failover.qdrant_names import named_peers, resolve, silent_together
from tests.unit.workflows.failover.pictures import picture

HOSTS = [f"http://qdrant-{n}.internal:6333" for n in range(3)]
LOCAL = [f"http://127.0.0.1:{port}" for port in (1, 2, 3)]


def test_hosts_give_short_names_and_addresses_their_port() -> None:
    assert [one.name for one in named_peers(picture())] == ["qdrant-0", "qdrant-1", "qdrant-2"]
    local = picture(addresses=dict(zip(LOCAL, (1, 2, 3), strict=True)))
    assert [one.name for one in named_peers(local)] == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]


def test_the_only_silent_address_is_the_only_missing_peer() -> None:
    local = picture(addresses=dict(zip(LOCAL, (1, None, 3), strict=True)))
    assert [one.peer for one in named_peers(local)] == [1, 2, 3]


def test_several_silent_addresses_are_told_by_their_hosts_alone() -> None:
    by_host = picture(addresses=dict(zip(HOSTS, (1, None, None), strict=True)), quorum=())
    assert [one.peer for one in named_peers(by_host)] == [1, 2, 3]
    local = picture(addresses=dict(zip(LOCAL, (1, None, None), strict=True)), quorum=())
    found = named_peers(local)
    assert [one.peer for one in found] == [1, None, None, 2, 3]
    assert silent_together(found), "whichever is which, neither answers"


def test_a_member_without_an_address_is_there_by_its_id() -> None:
    found = named_peers(picture(addresses=dict(zip(HOSTS[:2], (1, 2), strict=True))))
    assert [(one.name, one.peer) for one in found] == [
        ("qdrant-0", 1),
        ("qdrant-1", 2),
        ("3", 3),
    ]
    assert not silent_together(found), "it may be well: nobody has asked it"


@pytest.mark.parametrize(
    "word",
    ["qdrant-1", "2", "http://qdrant-1.internal:6333", "qdrant-1.internal:6333",
     "qdrant-1.internal"],
)  # fmt: skip
def test_every_way_to_call_a_peer(word: str) -> None:
    assert resolve(named_peers(picture()), word).peer == 2


def test_an_unknown_peer_is_told_with_those_like_it() -> None:
    with pytest.raises(UsageError) as unknown:
        resolve(named_peers(picture()), "qdrant-9")
    assert "qdrant-0" in unknown.value.hint
    local = picture(addresses=dict(zip(LOCAL, (1, 2, 3), strict=True)))
    with pytest.raises(UsageError) as several:
        resolve(named_peers(local), "127.0.0.1")
    assert "several peers" in several.value.message
