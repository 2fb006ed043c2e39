"""The directory store keeps the promises of every object store, and its own."""

import os
import resource
import signal
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.conformance.object_store import ObjectStoreConformance, stream


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "repository")
    made.ensure()
    return made


class TestConformance(ObjectStoreConformance):
    part_bytes = 1 << 20


def test_a_missing_directory_is_not_made_on_the_way(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "unmounted")
    for use in (
        lambda: store.create("a", b""),
        lambda: list(store.list("")),
        lambda: list(store.list_folders("")),
        lambda: store.delete(["a"]),
        store.now,
    ):
        with pytest.raises(RefusedError) as caught:
            use()
        assert caught.value.code == "repository_directory_missing"
    assert not (tmp_path / "unmounted").exists()


def test_objects_are_for_their_owner_only(store: DirectoryStore, tmp_path: Path) -> None:
    store.create("a/b", b"secret")
    for path in (tmp_path / "repository").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_killed_writer_leaves_only_staging(store: DirectoryStore, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with store.writer("dead") as target:
            target.write(b"x" * (3 << 20))
            os._exit(0)
    os.waitpid(child, 0)
    assert list(store.list("")) == []
    assert store.abort_stale_uploads(timedelta(hours=1)) == 0
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == 1
    assert list((tmp_path / "repository" / ".staging").iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(store: DirectoryStore) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))  # EFBIG stands for a full disk
    try:
        with pytest.raises(RemoteError) as caught:
            stream(store, "a", b"x" * (3 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.code == "disk_full"
    assert list(store.list("")) == []
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == 0


def test_a_link_out_of_the_directory_is_not_followed(store: DirectoryStore, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("not ours")
    (tmp_path / "repository" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(RefusedError):
        store.read("link")
