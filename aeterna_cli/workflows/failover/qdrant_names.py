"""What people call the peers of Qdrant, and which peer an address without an answer must be."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_address
from urllib.parse import urlsplit

from aeterna_cli.errors import UsageError
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture, PeerAnswer


@dataclass(frozen=True)
class NamedPeer:
    """``peer`` is None for an address without an answer that cannot be told from others like it.

    One that is not ``listed`` is a member that no address of the profile is known to belong to.
    """

    name: str
    address: str
    peer: int | None
    answer: PeerAnswer | None
    listed: bool = True

    def is_called(self, word: str) -> bool:
        host = urlsplit(self.address)
        return word in (self.name, self.address, str(self.peer), host.netloc, host.hostname)


def named_peers(picture: ClusterPicture) -> tuple[NamedPeer, ...]:
    """The addresses of the profile in its order, then peers that none of them belongs to.

    A name is the first label of the host where those differ, else host and port.
    """
    labels = [_label(one.address) for one in picture.answers]
    short = None not in labels and len(set(labels)) == len(labels)
    silent = _silent(picture)
    found = [
        NamedPeer(
            str(label) if short else urlsplit(one.address).netloc,
            one.address,
            one.peer if one.peer is not None else silent.get(one.address),
            one if one.peer is not None else None,
        )
        for one, label in zip(picture.answers, labels, strict=True)
    ]
    listed = {one.peer for one in found}
    return (*found, *(NamedPeer(str(peer), uri, peer, None, listed=False)
                      for peer, uri in picture.known.items() if peer not in listed))  # fmt: skip


def _label(address: str) -> str | None:
    host = urlsplit(address).hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return host.partition(".")[0]
    return None


def _silent(picture: ClusterPicture) -> dict[str, int]:
    """Which peer each address without an answer is: by its host, or as the only one left."""
    answered = {one.peer for one in picture.answers if one.peer is not None}
    missing = {peer: uri for peer, uri in picture.known.items() if peer not in answered}
    silent = [one.address for one in picture.answers if one.peer is None]
    if len(missing) == 1 and len(silent) == 1:
        return {silent[0]: next(iter(missing))}
    hosts = [urlsplit(uri).hostname for uri in picture.known.values()]
    if len(set(hosts)) < len(hosts):
        return {}
    by_host = {urlsplit(uri).hostname: peer for peer, uri in missing.items()}
    return {one: by_host[host] for one in silent if (host := urlsplit(one).hostname) in by_host}


def silent_together(peers: Sequence[NamedPeer]) -> bool:
    """Whether the members without an address are, taken together, the addresses without a member.

    Then none of them answers, whichever is which.
    """
    addresses = sum(one.peer is None for one in peers)
    return addresses == sum(not one.listed for one in peers)


def resolve(peers: Sequence[NamedPeer], word: str) -> NamedPeer:
    """The peer of this name, id or address. ``UsageError('node_unknown')`` with those like it."""
    found = [one for one in peers if one.is_called(word)]
    if len(found) == 1:
        return found[0]
    names = [one.name for one in peers]
    like = get_close_matches(word, names, n=3, cutoff=0.4) or names
    raise UsageError(
        "node_unknown",
        f"{'several peers are' if found else 'no peer of Qdrant is'} called {word!r}",
        hint=f"there are: {', '.join(like)}",
    )


def name_of(peers: Sequence[NamedPeer], peer: int) -> str:
    return next((one.name for one in peers if one.peer == peer), str(peer))
