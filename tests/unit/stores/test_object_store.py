"""Which store an address opens, what may be retried, what a dry run and a probe do."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from aeterna_cli.errors import ConflictError, RefusedError, TransientError, UsageError
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.stores.object_decorators import DryRun, Retrying
from aeterna_cli.stores.object_probe import RACERS, probe_conditional_writes
from aeterna_cli.stores.object_store import open_store
from aeterna_cli.stores.s3_client import make_client, split_url
from aeterna_cli.stores.s3_policy import s3_policy
from tests.conformance.object_store import ObjectStoreConformance

QUICK = Backoff(attempts=3, first=0.001, ceiling=0.001)


@pytest.fixture
def inner(tmp_path: Path) -> DirectoryStore:
    made = DirectoryStore(tmp_path / "repository")
    made.ensure()
    return made


class TestRetryingConformance(ObjectStoreConformance):
    part_bytes = 1 << 20

    @pytest.fixture
    def store(self, inner: DirectoryStore) -> Retrying:
        return Retrying(inner, backoff=QUICK)


class Shaky(DirectoryStore):
    """Fails ``failures`` times before each call that reaches the directory."""

    failures = 0

    def fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise TransientError("shaken", "the store was shaken")

    def create(self, key: str, data: bytes) -> ObjectInfo:
        self.fail()
        return super().create(key, data)

    def read(self, key: str) -> bytes:
        self.fail()
        return super().read(key)

    def reader(self, key: str) -> BinaryIO:
        self.fail()
        return super().reader(key)  # type: ignore[return-value]  # a file is both

    def list(self, prefix: str):  # type: ignore[no-untyped-def]  # as the base
        for number, found in enumerate(super().list(prefix)):
            if number == 1:
                self.fail()
            yield found


@pytest.fixture
def shaky(inner: DirectoryStore, tmp_path: Path) -> Shaky:
    for key in ("a", "b", "c"):
        inner.create(key, key.encode())
    return Shaky(tmp_path / "repository")


def test_reading_is_tried_again(shaky: Shaky) -> None:
    store = Retrying(shaky, backoff=QUICK)
    shaky.failures = 2
    assert store.read("a") == b"a"
    shaky.failures = 2
    assert [found.key for found in store.list("")] == ["a", "b", "c"]
    assert shaky.failures == 0


def test_the_last_fault_is_told(shaky: Shaky) -> None:
    shaky.failures = 3
    with pytest.raises(TransientError, match="shaken"):
        Retrying(shaky, backoff=QUICK).read("a")
    assert shaky.failures == 0


def test_a_create_is_not_sent_again_from_outside(shaky: Shaky) -> None:
    shaky.failures = 1
    with pytest.raises(TransientError):
        Retrying(shaky, backoff=QUICK).create("new", b"")
    assert [found.key for found in shaky.list("")] == ["a", "b", "c"]


def test_what_is_not_transient_is_not_tried_again() -> None:
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        raise ConflictError("taken", "taken")

    with pytest.raises(ConflictError):
        retried(call, QUICK)
    assert calls == 1


def test_pauses_grow_to_their_ceiling_and_differ() -> None:
    backoff = Backoff(attempts=8, first=0.2, ceiling=2)
    pauses = list(backoff.pauses())
    assert len(pauses) == 7
    for number, pause in enumerate(pauses):
        longest = min(2, 0.2 * 2**number)
        assert longest / 2 <= pause <= longest
    assert pauses != list(backoff.pauses())


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.create("new", b""),
        lambda store: store.replace("a", b"", etag="x"),
        lambda store: store.writer("new"),
        lambda store: store.delete(["a"]),
        lambda store: store.abort_stale_uploads(timedelta(0)),
    ],
)
def test_a_dry_run_writes_nothing(
    shaky: Shaky, tmp_path: Path, write: Callable[[DryRun], object]
) -> None:
    store = DryRun(shaky)
    with pytest.raises(RefusedError) as caught:
        write(store)
    assert caught.value.code == "dry_run"
    assert sorted(path.name for path in (tmp_path / "repository").glob("[a-z]*")) == ["a", "b", "c"]


def test_a_dry_run_reads(shaky: Shaky) -> None:
    store = DryRun(shaky)
    with store.reader("a") as source:
        assert source.read() == store.read("a") == b"a"
    assert [found.key for found in store.list("")] == ["a", "b", "c"]
    assert list(store.list_folders("")) == []
    assert store.info("b").size == 1
    assert store.now() >= store.info("b").modified
    assert store.description == shaky.description


class Careless(DirectoryStore):
    """Ignores every condition, as some S3 servers do."""

    def create(self, key: str, data: bytes) -> ObjectInfo:
        (self._root / key).parent.mkdir(parents=True, exist_ok=True)
        (self._root / key).write_bytes(data)
        return self.info(key)

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        return self.create(key, data)


def test_a_store_that_ignores_conditions_is_found_out(
    inner: DirectoryStore, tmp_path: Path
) -> None:
    store = Careless(tmp_path / "repository")
    findings = probe_conditional_writes(store)
    assert [(found.severity, found.details["what"]) for found in findings] == [
        ("error", "create"),
        ("error", "replace"),
    ]
    assert findings[0].details["winners"] == RACERS
    assert list(store.list("")) == []


def test_the_address_chooses_the_store(tmp_path: Path) -> None:
    assert open_store(RepositorySettings(url=str(tmp_path))).description == str(tmp_path)
    there = RepositorySettings(url="s3://bucket/some/prefix/")
    assert open_store(there).description == "s3://bucket/some/prefix"


@pytest.mark.parametrize("url", ["", "http://bucket/x", "s3://", "s3://B/x", "s3://bucket/../x"])
def test_any_other_address_is_a_mistake(url: str) -> None:
    with pytest.raises(UsageError):
        open_store(RepositorySettings(url=url))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://a.b-c/d/e/", ("a.b-c", "d/e")),
    ],
)
def test_an_address_has_a_bucket_and_a_prefix(url: str, place: tuple[str, str]) -> None:
    assert split_url(url) == place


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"tls": {"enabled": True}, "endpoint_url": "http://h"}, "s3_endpoint_without_tls"),
        ({"tls": {"server_name": "x"}}, "s3_server_name_unsupported"),
        ({"access_key_id": "somebody"}, "s3_secret_missing"),
        ({"tls": {"ca_file": "/not/there.pem"}}, "tls_file_missing"),
    ],
)
def test_what_cannot_be_honoured_is_refused(values: dict[str, object], code: str) -> None:
    settings = RepositorySettings.model_validate({"url": "s3://bucket/p", **values})
    with pytest.raises(UsageError) as caught:
        make_client(settings)
    assert caught.value.code == code


def test_only_prune_may_delete_and_nobody_beyond_the_prefix() -> None:
    for purpose in ("backup", "restore", "prune"):
        statements = s3_policy("bucket", "a/b/", purpose)["Statement"]
        actions = {action for statement in statements for action in statement["Action"]}
        assert ("s3:DeleteObject" in actions) is (purpose == "prune")
        assert ("s3:PutObject" in actions) is (purpose != "restore")
        for statement in statements:
            whole_bucket = statement["Resource"] == ["arn:aws:s3:::bucket"]
            assert whole_bucket or statement["Resource"] == ["arn:aws:s3:::bucket/a/b/*"]
            if whole_bucket:
                assert statement["Condition"] == {"StringLike": {"s3:prefix": ["a/b/*"]}}
