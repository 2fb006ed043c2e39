"""The S3 store behind a network that cuts, lies short, stays silent and loses answers."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from aeterna_cli.errors import AeternaError, ConflictError, RemoteError, TransientError
from aeterna_cli.lab.part import Place
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores.backoff import Backoff
from aeterna_cli.stores.object_decorators import Retrying
from aeterna_cli.stores.s3_store import S3Store
from tests.conformance.object_store import stream
from tests.faults.certificate import authority, mutual_tls
from tests.faults.http_proxy import Fault, FaultProxy, Request, fault_proxy
from tests.integration.stores.s3_server import s3_settings, seaweedfs_place

__all__ = ["authority", "s3_settings", "seaweedfs_place"]  # fixtures

pytestmark = pytest.mark.integration
QUICK = Backoff(attempts=4, first=0.01, ceiling=0.01)
LOST = Fault(lose_answer=True)
CUT = Fault(cut_before=True)
BUSY = Fault(status=503, code="SlowDown")
LARGE = os.urandom(1 << 20) * 12  # three parts of 5 MiB


@pytest.fixture(scope="module")
def proxy(seaweedfs_place: Place) -> Iterator[FaultProxy]:
    with fault_proxy(seaweedfs_place.url("s3")) as running:
        yield running


@pytest.fixture
def store(s3_settings: RepositorySettings, proxy: FaultProxy) -> S3Store:
    proxy.rule = lambda request: None
    values = {**s3_settings.model_dump(), "endpoint_url": proxy.address, "timeout": 5}
    return S3Store(RepositorySettings.model_validate(values), backoff=QUICK)


@pytest.mark.parametrize("faults", [[LOST], [CUT], [BUSY, CUT, LOST]])
def test_a_create_whose_answer_was_lost_is_ours(
    store: S3Store, proxy: FaultProxy, faults: list[Fault]
) -> None:
    store.now()
    proxy.break_once("PUT", "/mine", *faults)
    assert store.create("mine", b"content").size == 7
    assert store.read("mine") == b"content"
    assert proxy.count("PUT", "/mine") == len(faults) + 1


def test_a_create_that_lost_its_race_meanwhile_is_not_ours(
    store: S3Store, proxy: FaultProxy
) -> None:
    store.create("theirs", b"same content")
    proxy.break_once("PUT", "/theirs", CUT)
    with pytest.raises(ConflictError) as caught:
        store.create("theirs", b"same content")
    assert caught.value.code == "object_exists"


def test_a_replace_whose_answer_was_lost_is_ours(store: S3Store, proxy: FaultProxy) -> None:
    first = store.create("lease", b"one")
    proxy.break_once("PUT", "/lease", LOST)
    second = store.replace("lease", b"two", etag=first.etag)
    assert store.info("lease").etag == second.etag
    assert store.read("lease") == b"two"


def test_a_write_that_never_arrives_is_transient(store: S3Store, proxy: FaultProxy) -> None:
    store.now()
    proxy.break_always("PUT", "/never", CUT)
    with pytest.raises(TransientError) as caught:
        store.create("never", b"x")
    assert caught.value.code == "s3_connection_cut"
    assert proxy.count("PUT") == QUICK.attempts


def test_a_lost_part_and_a_lost_completion_make_one_object(
    store: S3Store, proxy: FaultProxy
) -> None:
    proxy.break_once("PUT", "partNumber=2", LOST, BUSY)
    stream(store, "large", LARGE)
    assert store.read("large") == LARGE
    store.delete(["large"])
    proxy.break_once("POST", "uploadId", LOST)
    stream(store, "large", LARGE)
    assert store.read("large") == LARGE
    assert proxy.count("POST", "uploadId") == 2


def test_a_part_that_fails_for_good_ends_the_write_and_leaves_nothing(
    store: S3Store, proxy: FaultProxy
) -> None:
    proxy.break_always("PUT", "partNumber=1", BUSY)
    with pytest.raises(TransientError) as caught:
        stream(store, "large", LARGE * 3)
    assert caught.value.code == "s3_unavailable"
    assert list(store.list("")) == []
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == 0


def test_parts_that_could_not_be_dropped_are_told_and_dropped_later(
    store: S3Store, proxy: FaultProxy
) -> None:
    proxy.break_always("DELETE", "uploadId", CUT)
    with pytest.raises(ZeroDivisionError) as caught:
        stream(store, "large", LARGE, die=True)
    assert "parts are still in the store" in caught.value.__notes__[0]
    proxy.rule = lambda request: None
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == 1


def test_a_cut_body_is_read_on_where_it_ended(store: S3Store, proxy: FaultProxy) -> None:
    stream(store, "large", LARGE)
    short = Fault(body_bytes=7, honest=True)  # less than asked for, as if that were all
    proxy.break_once(
        "GET",
        "/large",
        Fault(body_bytes=3_000_001),
        Fault(body_bytes=5),
        Fault(body_bytes=0),
        short,
    )
    with store.reader("large") as source:
        assert source.read() == LARGE
    ranges = [seen.range for seen in proxy.seen if seen.range]
    assert ranges == [f"bytes={start}-" for start in (3000001, 3000006, 3000006, 3000013)]


def test_a_body_that_always_ends_early_is_an_error(store: S3Store, proxy: FaultProxy) -> None:
    stream(store, "large", LARGE)
    proxy.break_always("GET", "/large", Fault(body_bytes=0))
    with store.reader("large") as source, pytest.raises(TransientError) as caught:
        source.read()
    assert caught.value.code == "body_truncated"
    assert proxy.count("GET", "/large") < 10


def test_two_versions_are_never_spliced(store: S3Store, proxy: FaultProxy) -> None:
    first = store.create("lease", b"a" * 3_000_000)
    proxy.break_once("GET", "/lease", Fault(body_bytes=1_500_000))
    with store.reader("lease") as source:
        source.read(10)
        store.replace("lease", b"b" * 3_000_000, etag=first.etag)
        with pytest.raises(ConflictError) as caught:
            source.read()
    assert caught.value.code == "object_changed"


def test_a_server_that_says_nothing_is_a_timeout(
    store: S3Store, s3_settings: RepositorySettings, proxy: FaultProxy
) -> None:
    values = {**s3_settings.model_dump(), "endpoint_url": proxy.address, "timeout": 0.3}
    hasty = S3Store(RepositorySettings.model_validate(values))
    store.create("a", b"x")
    proxy.break_always("GET", "/a", Fault(silent=True))
    with pytest.raises(TransientError) as caught:
        hasty.read("a")
    assert caught.value.code == "s3_timeout"


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (Fault(status=500, code="InternalError"), TransientError, "s3_unavailable"),
        (Fault(status=429, code="TooManyRequests"), TransientError, "s3_unavailable"),
        (Fault(status=507, code="InsufficientStorage"), RemoteError, "storage_full"),
        (Fault(status=501, code="NotImplemented"), RemoteError, "s3_not_implemented"),
        (Fault(status=403, code="RequestTimeTooSkewed"), RemoteError, "clock_skewed"),
        (Fault(status=400, code="InvalidRequest"), RemoteError, "s3_refused"),
    ],
)
def test_an_answer_is_understood(
    store: S3Store, proxy: FaultProxy, answer: Fault, kind: type[AeternaError], expected: str
) -> None:
    store.now()
    proxy.break_always("PUT", "/a", answer)
    with pytest.raises(kind) as caught:
        store.create("a", b"x")
    assert caught.value.code == expected
    assert caught.value.details["code"] == answer.code


def test_a_listing_cut_in_the_middle_begins_anew(store: S3Store, proxy: FaultProxy) -> None:
    keys = [f"{number:02}" for number in range(20)]
    for key in keys:
        store.create(key, b"")
    proxy.break_once("GET", "list-type", Fault(body_bytes=700), CUT)
    patient = Retrying(store, backoff=QUICK)
    assert [found.key for found in patient.list("")] == keys
    proxy.break_once("GET", "list-type", Fault(body_bytes=700))
    with pytest.raises(TransientError):
        list(store.list(""))


def test_the_clock_is_asked_by_what_was_read_and_by_a_listing_where_that_is_gone(
    store: S3Store, proxy: FaultProxy
) -> None:
    store.create("known", b"x")
    store.read("known")
    proxy.seen.clear()
    store.now()
    assert [seen.method for seen in proxy.seen] == ["HEAD"]
    store.delete(["known"])
    proxy.seen.clear()
    store.now()
    store.now()
    assert [seen.method for seen in proxy.seen] == ["HEAD", "GET", "GET"]


def test_a_server_without_conditional_completion_is_still_create_only(
    store: S3Store, proxy: FaultProxy
) -> None:
    unable = Fault(status=501, code="NotImplemented")
    proxy.break_once("POST", "uploadId", unable)
    stream(store, "large", LARGE)
    assert store.info("large").size == len(LARGE)
    proxy.break_once("POST", "uploadId", unable)
    with pytest.raises(ConflictError) as caught:
        stream(store, "large", LARGE * 2)
    assert caught.value.code == "object_exists"
    assert store.info("large").size == len(LARGE)


@pytest.mark.parametrize(
    "refusal",
    [Fault(status=501, code="NotImplemented"), Fault(status=400, code="InvalidArgument")],
    ids=lambda fault: fault.code,
)
def test_a_server_that_refuses_to_check_parts_by_crc32_gets_them_by_md5(
    store: S3Store, proxy: FaultProxy, refusal: Fault
) -> None:
    proxy.break_once("POST", "uploads", refusal)
    stream(store, "large", LARGE)
    assert store.read("large") == LARGE
    assert proxy.count("POST", "uploads") == 2


def test_any_other_refusal_of_an_upload_is_told(store: S3Store, proxy: FaultProxy) -> None:
    proxy.break_always("POST", "uploads", Fault(status=400, code="InvalidStorageClass"))
    with pytest.raises(RemoteError, match="InvalidStorageClass"):
        stream(store, "large", LARGE)
    assert proxy.count("POST", "uploads") == 1


def test_a_key_taken_in_the_last_moment_is_not_overwritten(
    store: S3Store, s3_settings: RepositorySettings, proxy: FaultProxy
) -> None:
    other = S3Store(s3_settings)

    def somebody_else_is_faster(request: Request) -> None:
        if request.method == "POST" and "uploadId" in request.path:
            other.create("large", b"theirs")

    proxy.rule = somebody_else_is_faster
    with pytest.raises(ConflictError) as caught:
        stream(store, "large", LARGE)
    assert caught.value.code == "object_exists"
    proxy.rule = lambda request: None
    assert store.read("large") == b"theirs"
    assert store.abort_stale_uploads(timedelta(seconds=-5)) == 0


def _with_tls(settings: RepositorySettings, address: str, **tls: Path) -> S3Store:
    values = {**settings.model_dump(), "endpoint_url": address, "tls": {"enabled": True, **tls}}
    return S3Store(RepositorySettings.model_validate(values))


def test_tls_wants_the_right_authority_and_certificate(
    s3_settings: RepositorySettings, seaweedfs_place: Place, authority: Path
) -> None:
    with fault_proxy(seaweedfs_place.url("s3"), tls=mutual_tls(authority)) as proxy:
        good = _with_tls(s3_settings, proxy.address, ca_file=authority, certificate_file=authority)
        stream(good, "large", LARGE)
        assert good.read("large") == LARGE
        with pytest.raises(RemoteError) as caught:
            _with_tls(s3_settings, proxy.address, certificate_file=authority).now()
        assert caught.value.code == "certificate_refused"
        with pytest.raises(AeternaError) as nobody:
            _with_tls(s3_settings, proxy.address, ca_file=authority).now()
        assert nobody.value.code in ("tls_failed", "s3_connection_cut")
