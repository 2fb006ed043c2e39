"""How a bucket keeps what was deleted or overwritten.

Source: Amazon S3 API Reference: GetBucketVersioning, GetObjectLockConfiguration.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from aeterna_cli.errors import AuthenticationError, RefusedError, RemoteError
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.s3_client import make_client, split_url
from aeterna_cli.stores.s3_errors import faults


def examine(settings: RepositorySettings) -> Sequence[Finding]:
    """Remarks about the bucket; ``RefusedError('bucket_missing')``. Reads only.

    The least privileges do not include these two questions: a refusal is a remark as well.
    """
    bucket, prefix = split_url(settings.url)
    where = f"s3://{bucket}"
    with closing(make_client(settings)) as client:
        with faults(where):
            client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", MaxKeys=1)
        with_versions = _asked(
            lambda: client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled", where
        )
        locked = _asked(lambda: _has_lock(client, bucket), where)
    if with_versions is None or locked is None:
        mend = "allow s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration to see"
        return [_remark("bucket_not_judged", where, "versioning could not be looked at", mend)]
    if locked or with_versions:
        return []
    message = "no versioning, no object lock: whoever has the write credential can delete backups"
    return [_remark("bucket_without_versions", where, message, "switch object lock on")]


def _remark(code: str, where: str, message: str, mend: str) -> Finding:
    return Finding(code, "info", where, message, mend)


def _has_lock(client: Any, bucket: str) -> bool:
    answer = client.get_object_lock_configuration(Bucket=bucket)
    lock: dict[str, Any] = answer.get("ObjectLockConfiguration", {})
    return lock.get("ObjectLockEnabled") == "Enabled"


def _asked(question: Callable[[], bool], where: str) -> bool | None:
    """None where we may not ask; a server that does not know the question has no such thing."""
    try:
        with faults(where):
            return question()
    except AuthenticationError:
        return None
    except (RefusedError, RemoteError):
        return False
