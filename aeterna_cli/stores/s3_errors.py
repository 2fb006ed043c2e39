"""What S3 and the way to it may answer, as typed errors.

Source of the codes: Amazon S3 API Reference, "Error responses"; botocore.exceptions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    ConflictError,
    RefusedError,
    RemoteError,
    TransientError,
)

_DENIED = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_PASSING = frozenset(
    {
        "BadDigest",  # damaged on the way
        "IncompleteBody",
        "InternalError",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "DiskFull"})
_CHANGED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"})


@contextmanager
def faults(where: str) -> Iterator[None]:
    """Turn whatever botocore raises inside into a typed error about ``where``."""
    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, where) from error
    except (boto.BotoCoreError, ResponseParserError, HTTPError, OSError) as error:
        raise _not_answered(error, where) from error


def code_of(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _answered(error: boto.ClientError, where: str) -> AeternaError:
    code = code_of(error)
    metadata: dict[str, Any] = error.response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    details = {"code": code, "status": status, "request": error.operation_name}
    found = _known(code, status, where)
    if found is None:
        said = str(error.response.get("Error", {}).get("Message", ""))[:200]
        found = RemoteError("s3_refused", f"{where}: S3 answered {status} {code}: {said}")
    found.details.update(details)
    return found


def _known(code: str, status: int, where: str) -> AeternaError | None:
    if code == "NoSuchBucket":
        return bucket_missing(where)
    if code in ("NoSuchKey", "404", "NotFound") or (status == 404 and code != "NoSuchUpload"):
        return RefusedError("object_missing", f"there is no object {where}")
    if code in _CHANGED or status in (409, 412):
        return ConflictError("object_changed", f"{where} was changed by somebody else")
    if code == "RequestTimeTooSkewed":
        return RemoteError(
            "clock_skewed",
            f"{where}: the server's clock and this machine's are too far apart",
            hint="S3 takes 15 minutes at most; check the time on both",
        )
    if code in _DENIED or status in (401, 403):
        return AuthenticationError(
            "s3_denied",
            f"{where}: S3 refused the credentials or their privileges ({code or status})",
            hint="check repository.access_key_id, its secret file and the bucket policy",
        )
    if code in _FULL or status == 507:
        return RemoteError(
            "storage_full",
            f"{where}: no space left in the object store",
            hint="free space there, or prune old backups; nothing incomplete was listed",
        )
    if code == "NotImplemented" or status == 501:
        return RemoteError("s3_not_implemented", f"{where}: this S3 server cannot do that")
    if code in _PASSING or status >= 500 or status in (408, 429):
        return TransientError("s3_unavailable", f"{where}: S3 answered {status} {code}")
    return None


def bucket_missing(where: str) -> RefusedError:
    return RefusedError(
        "bucket_missing",
        f"the bucket of {where} does not exist",
        hint="it is never made on its own: a misspelt name must not become a second repository",
        next_steps=["create the bucket, or correct repository.url in the profile"],
    )


def _not_answered(error: Exception, where: str) -> AeternaError:
    if isinstance(error, boto.SSLError):
        return _tls(error, where)
    if isinstance(
        error,
        boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError,
    ):
        return AuthenticationError(
            "s3_no_credentials",
            f"{where}: there are no S3 credentials",
            hint="set repository.access_key_id and repository.secret_access_key_file",
        )
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        return TransientError("s3_unreachable", f"{where}: the S3 endpoint cannot be reached")
    if isinstance(error, boto.ConnectTimeoutError | boto.ReadTimeoutError):
        return TransientError("s3_timeout", f"{where}: S3 did not answer in time")
    if isinstance(error, ResponseParserError | boto.IncompleteReadError):
        return TransientError("body_truncated", f"{where}: S3's answer ends early or is garbled")
    if isinstance(error, boto.HTTPClientError | HTTPError | OSError):
        return TransientError("s3_connection_cut", f"{where}: the connection to S3 was cut")
    return RemoteError("s3_fault", f"{where}: {type(error).__name__}")


def _tls(error: Exception, where: str) -> AeternaError:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return RemoteError(
            "certificate_refused",
            f"{where}: the certificate of the S3 endpoint is not trusted",
            hint="set repository.tls.ca_file to the authority that signed it, and use the name "
            "that stands in it",
        )
    if "EOF" in text or "reset" in text:
        return TransientError("s3_connection_cut", f"{where}: the connection to S3 was cut")
    return RemoteError(
        "tls_failed",
        f"{where}: no TLS connection to the S3 endpoint",
        hint="does it speak TLS at all, and does it want a client certificate?",
    )
