"""The lease of a service: for its whole life, also over an outage of the repository."""

from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from aeterna_cli.errors import ConflictError
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.workflows.backup import wal_receiver
from aeterna_cli.workflows.backup.wal_receiver import ServiceLease


class SlowToReplace(DirectoryStore):
    """A repository that does not answer any more once it is told to."""

    seconds = 0.0

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        import threading

        threading.Event().wait(self.seconds)
        return super().replace(key, data, etag=etag)


@pytest.fixture
def store(tmp_path: Path) -> SlowToReplace:
    return SlowToReplace(tmp_path)


def lease(store: DirectoryStore, operation: str) -> ServiceLease:
    ctx: Any = SimpleNamespace(deployment=SimpleNamespace(objects=store))
    return ServiceLease(ctx, operation)


def test_one_receiver_at_a_time(store: SlowToReplace) -> None:
    first, second = lease(store, "one"), lease(store, "two")
    first.take()
    with pytest.raises(ConflictError) as caught:
        second.take()
    assert caught.value.code == "lease_held"
    first.check()
    first.give_back()
    second.take()
    second.give_back()


def test_the_same_receiver_takes_it_anew_after_an_outage(store: SlowToReplace) -> None:
    service = lease(store, "one")
    service.take()
    service.take()
    service.check()
    with pytest.raises(ConflictError):
        lease(store, "two").take()
    service.give_back()


def test_giving_back_never_waits_for_a_dead_repository(
    store: SlowToReplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_receiver, "_RELEASE_SECONDS", 0.2)
    service = lease(store, "one")
    service.take()
    store.seconds = 2.0
    begun = monotonic()
    service.give_back()
    assert monotonic() - begun < 1.0
    service.give_back()  # safe to repeat
