"""A boto3 client made of the profile, and of nothing that happens to lie around.

boto3's own retries are off: whether a request may be repeated is known by who sends it.
"""

import re
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from aeterna_cli.errors import UsageError
from aeterna_cli.settings import RepositorySettings, TlsSettings
from aeterna_cli.stores.s3_errors import faults

_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._=/-]*))?\Z")
CONNECT_SECONDS = 10.0
CONNECTIONS = 10


def split_url(url: str) -> tuple[str, str]:
    """Bucket and prefix (without slashes at its ends) of ``s3://bucket/prefix``."""
    found = _PLACE.match(url)
    prefix = (found[2] or "").strip("/") if found else ""
    if found is None or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise UsageError(
            "repository_url_invalid",
            f"not an S3 place: {url!r}",
            hint="s3://bucket/prefix, with a prefix of letters, digits and . _ = - /",
        )
    return found[1], prefix


def make_client(settings: RepositorySettings) -> Any:
    """A client for this profile; connects to nothing yet."""
    _check(settings)
    tls = settings.tls
    certificate = (
        (str(tls.certificate_file), str(tls.key_file or tls.certificate_file))
        if tls.certificate_file
        else None
    )
    configuration = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings.path_style else "virtual"},
        connect_timeout=min(settings.timeout, CONNECT_SECONDS),
        read_timeout=settings.timeout,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        client_cert=certificate,
        ignore_configured_endpoint_urls=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with faults(settings.url):
        client = boto3.Session(
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret() if settings.access_key_id else None,
        ).client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint_url,
            verify=str(tls.ca_file) if tls.ca_file else True,
            config=configuration,
        )
    client.meta.events.register("before-sign.s3.UploadPart", _signed_by_checksum)
    return client


def _signed_by_checksum(request: Any, **_: Any) -> None:
    """A part's checksum (``S3Upload``) is among the signed headers, and the server checks it.

    botocore would hash the body once more without TLS (auth.S3SigV4Auth), for a header that
    SeaweedFS does not check (measured).
    """
    only_this = request.context["client_config"]
    part = Config(s3={**only_this.s3, "payload_signing_enabled": False})
    request.context["client_config"] = only_this.merge(part)


def _check(settings: RepositorySettings) -> None:
    scheme = urlsplit(settings.endpoint_url or "https://").scheme
    if settings.tls.enabled and scheme != "https":
        raise UsageError(
            "s3_endpoint_without_tls",
            "repository.tls.enabled is set, but repository.endpoint_url is not https://",
        )
    if settings.tls.server_name:
        raise UsageError(
            "s3_server_name_unsupported",
            "repository.tls.server_name cannot be honoured for S3",
            hint="use the name of the certificate in repository.endpoint_url",
        )
    if settings.access_key_id and not settings.secret():
        raise UsageError(
            "s3_secret_missing",
            "repository.access_key_id has no secret",
            hint="set repository.secret_access_key_file",
        )
    _check_files(settings.tls)


def _check_files(tls: TlsSettings) -> None:
    """botocore would name a missing file only deep inside the first request."""
    for path in (tls.ca_file, tls.certificate_file, tls.key_file):
        if path is not None and not path.is_file():
            raise UsageError("tls_file_missing", f"there is no file {path}")
