"""The S3 store on a real SeaweedFS: the promises of every object store, and its own."""

import time
from datetime import timedelta
from typing import Any

import pytest

from aeterna_cli.errors import AeternaError, AuthenticationError, RefusedError, TransientError
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores.backoff import Backoff
from aeterna_cli.stores.object_store import open_store
from aeterna_cli.stores.s3_client import make_client, split_url
from aeterna_cli.stores.s3_put import Target
from aeterna_cli.stores.s3_store import S3Store
from aeterna_cli.stores.s3_upload import S3Upload
from tests.conformance.object_store import ObjectStoreConformance, stream
from tests.integration.stores.s3_server import s3_settings, seaweedfs_place

__all__ = ["s3_settings", "seaweedfs_place"]  # fixtures

pytestmark = pytest.mark.integration
QUICK = Backoff(attempts=3, first=0.01, ceiling=0.01)


@pytest.fixture
def store(s3_settings: RepositorySettings) -> S3Store:
    return S3Store(s3_settings, backoff=QUICK)


class TestConformance(ObjectStoreConformance):
    pass


class TestConformanceAsOpened(ObjectStoreConformance):
    """What commands really get, with retries around it."""

    @pytest.fixture
    def store(self, s3_settings: RepositorySettings) -> object:
        return open_store(s3_settings)


def changed(settings: RepositorySettings, **values: object) -> S3Store:
    return S3Store(
        RepositorySettings.model_validate({**settings.model_dump(), **values}), backoff=QUICK
    )


def test_two_prefixes_do_not_see_each_other(s3_settings: RepositorySettings) -> None:
    mine, other = S3Store(s3_settings), changed(s3_settings, url=f"{s3_settings.url}2")
    other.create("a", b"")
    mine.create("b", b"")
    assert [found.key for found in mine.list("")] == ["b"]
    assert [found.key for found in other.list("")] == ["a"]
    other.delete(["a"])


def test_more_keys_than_one_page_are_listed_and_deleted(store: S3Store) -> None:
    keys = [f"many/{number:04}" for number in range(1005)]
    for key in keys:
        store.create(key, b"")
    assert [found.key for found in store.list("many/")] == keys
    assert store.delete(keys) == len(keys)
    assert list(store.list("")) == []


def test_what_a_dead_writer_left_is_dropped(
    store: S3Store, s3_settings: RepositorySettings
) -> None:
    client = make_client(s3_settings)
    bucket, prefix = split_url(s3_settings.url)
    client.create_multipart_upload(Bucket=bucket, Key=f"{prefix}/dead")
    assert store.abort_stale_uploads(timedelta(hours=1)) == 0
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == 1
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == 0


@pytest.mark.parametrize(
    ("values", "kind", "code"),
    [
        ({"url": "s3://no-such-bucket/p"}, RefusedError, "bucket_missing"),
        ({"secret_access_key": "wrong"}, AuthenticationError, "s3_denied"),
        ({"access_key_id": "nobody"}, AuthenticationError, "s3_denied"),
        ({"endpoint_url": "http://127.0.0.1:9"}, TransientError, "s3_unreachable"),
    ],
)
def test_a_wrong_place_is_named(
    s3_settings: RepositorySettings,
    values: dict[str, str],
    kind: type[AeternaError],
    code: str,
) -> None:
    store = changed(s3_settings, **values)
    for use in (
        lambda: store.create("x", b""),
        lambda: store.read("x"),
        lambda: store.info("x"),
        lambda: list(store.list("")),
        lambda: list(store.list_folders("")),
        store.now,
        lambda: store.abort_stale_uploads(timedelta(0)),
    ):
        with pytest.raises(kind) as caught:
            use()
        assert caught.value.code == code
        secret = s3_settings.secret()
        assert secret is not None
        assert secret not in f"{caught.value.as_document()}"


def test_a_misspelt_bucket_is_not_made_by_writing(s3_settings: RepositorySettings) -> None:
    store = changed(s3_settings, url="s3://misspelt-bucket/p")
    with pytest.raises(RefusedError):
        stream(store, "a", b"x")
    with pytest.raises(RefusedError) as caught:
        store.now()
    assert caught.value.code == "bucket_missing"
    store.ensure_bucket()
    store.ensure_bucket()
    store.create("a", b"now it is wanted")
    store.delete(["a"])
    make_client(s3_settings).delete_bucket(Bucket="misspelt-bucket")


def test_memory_is_bounded_while_a_large_object_is_written(store: S3Store) -> None:
    import tracemalloc

    block = b"x" * (1 << 20)
    tracemalloc.start()
    began = time.monotonic()
    try:
        with store.writer("large") as target:
            for _ in range(64):
                target.write(block)
            assert target.commit().size == 64 << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20, f"{peak >> 20} MiB in {time.monotonic() - began:.1f} s"


@pytest.mark.parametrize(
    ("old", "checksum"), [(False, b"x-amz-checksum-crc32"), (True, b"content-md5")], ids=str
)
def test_a_part_that_was_damaged_on_the_way_is_refused(
    s3_settings: RepositorySettings, old: bool, checksum: bytes
) -> None:
    """Its checksum is signed, and the body is not hashed a second time for the signature."""
    client, sent = make_client(s3_settings), []

    def damage(request: Any, **_: object) -> None:
        sent.append((request.headers["X-Amz-Content-SHA256"], request.headers["Authorization"]))
        request.body = b"X" + bytes(request.body)[1:]

    def keep_from_server(params: Any, **_: object) -> None:
        del params["headers"]["x-amz-checksum-algorithm"]

    if old:
        client.meta.events.register("before-call.s3.CreateMultipartUpload", keep_from_server)
    client.meta.events.register("before-send.s3.UploadPart", damage)
    target = Target(client, *split_url(f"{s3_settings.url}/damaged"), "damaged", QUICK)
    upload = S3Upload(target, 5 << 20)
    upload.write(bytes(11 << 20))
    with pytest.raises(AeternaError, match=r"BadDigest|Content-Md5"):
        upload.commit()
    upload.abandon()
    assert {bytes(payload) for payload, _ in sent} == {b"UNSIGNED-PAYLOAD"}
    assert all(checksum in bytes(signed) for _, signed in sent)
