"""Which addresses a deployment has, and which requests may be sent to another of them."""

import pytest

from aeterna_cli.errors import TransientError, UsageError
from aeterna_cli.settings import QdrantSettings, TlsSettings
from aeterna_cli.stores.qdrant_http import _repeatable, checked_urls, describe_url


def test_the_url_comes_first_and_every_other_peer_after_it() -> None:
    peers = ("http://a:1", "b:2", "http://c:3/")
    assert checked_urls(QdrantSettings(url="http://c:3", peers=peers)) == (
        "http://c:3",
        "http://a:1",
        "http://b:2",
    )
    assert checked_urls(QdrantSettings(url="http://c:3")) == ("http://c:3",)


@pytest.mark.parametrize(
    "settings",
    [
        QdrantSettings(url="ftp://a"),
        QdrantSettings(url="http://a", peers=("ftp://b",)),
        QdrantSettings(url="https://a", peers=("http://b",)),
        QdrantSettings(url="http://a", tls=TlsSettings(enabled=True)),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused(settings: QdrantSettings) -> None:
    with pytest.raises(UsageError):
        checked_urls(settings)


def test_no_secret_of_an_address_is_shown() -> None:
    assert describe_url("http://user:secret@a:1/x") == "http://a:1/x"


@pytest.mark.parametrize(
    ("method", "path", "sent", "allowed"),
    [
        ("GET", "/collections", True, True),
        ("POST", "/collections/c/points/scroll", True, True),
        ("POST", "/collections/c/points", True, True),
        ("PUT", "/collections/c/points", True, False),
        ("PUT", "/collections/c/points", False, True),
        ("POST", "/collections/c/points/delete", True, False),
        ("POST", "/collections/c/cluster", True, False),
    ],
)
def test_only_what_changes_nothing_or_was_never_sent_is_repeated(
    method: str, path: str, sent: bool, allowed: bool
) -> None:
    error = TransientError("qdrant_unreachable", "gone", details={"sent": sent})
    assert _repeatable(error, method, path, b"{}") is allowed
    assert _repeatable(error, method, path, iter([b"{}"])) is False, "a stream is read once"
