"""Conditional writes that may be repeated: the answer can get lost although the write was done.

Every write carries a token of its own in the object's metadata. When a repeated attempt finds the
key taken, the token tells whether it was us.
"""

import base64
import hashlib
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    ConflictError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.s3_errors import faults

TOKEN = "aeterna-write"  # noqa: S105 - the name of a metadata field


@dataclass(frozen=True)
class Target:
    """One key of one bucket, and how to reach it. ``key`` is what the caller calls it."""

    client: Any
    bucket: str
    path: str
    key: str
    backoff: Backoff

    @property
    def where(self) -> str:
        return f"s3://{self.bucket}/{self.path}"

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One request about this object, sent once."""
        with faults(self.where):
            answer: dict[str, Any] = getattr(self.client, operation)(
                Bucket=self.bucket, Key=self.path, **arguments
            )
        return answer

    def present(self, operation: str) -> dict[str, Any]:
        """Ask for an object that should be there; ``RefusedError('object_missing')`` otherwise.

        HEAD answers a missing bucket and a missing key alike, and AWS answers a missing key with
        403 to those who may list a prefix only; the listing tells them apart.
        """
        try:
            return self.call(operation)
        except (RefusedError, AuthenticationError) as error:
            with faults(self.where):
                listed = self.client.list_objects_v2(
                    Bucket=self.bucket, Prefix=self.path, MaxKeys=1
                )
            if any(entry["Key"] == self.path for entry in listed.get("Contents", ())):
                raise
            raise RefusedError("object_missing", f"there is no object {self.where}") from error

    def info(self, answer: dict[str, Any]) -> ObjectInfo:
        """What HeadObject said."""
        return ObjectInfo(self.key, answer["ContentLength"], answer["ETag"], answer["LastModified"])


def new_token() -> str:
    return secrets.token_hex(16)


def md5(data: bytes | bytearray | memoryview) -> str:
    """Content-MD5: the server refuses what was damaged on the way."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode("ascii")


def crc32(data: bytes | bytearray | memoryview) -> str:
    """x-amz-checksum-crc32: as Content-MD5, at a tenth of its price."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode("ascii")


def put(target: Target, data: bytes | bytearray, **condition: str) -> ObjectInfo:
    """Store ``data`` if ``condition`` (IfNoneMatch or IfMatch) holds.

    ``ConflictError('object_exists' | 'object_changed')`` when it does not. After a
    ``TransientError`` it is unknown whether the object was stored.
    """
    token = new_token()

    def send() -> ObjectInfo:
        answer = target.call(
            "put_object",
            Body=data,
            ContentMD5=md5(data),
            Metadata={TOKEN: token},
            **condition,
        )
        return ObjectInfo(target.key, len(data), answer["ETag"], server_time(answer, target.where))

    try:
        return settled(target, token, send)
    except ConflictError as error:
        raise (exists(target) if "IfNoneMatch" in condition else error) from error


def settled(target: Target, token: str, send: Callable[[], ObjectInfo]) -> ObjectInfo:
    """Send until answered. A refusal after a lost answer is held against the token."""
    lost = False

    def attempt() -> ObjectInfo:
        nonlocal lost
        try:
            return send()
        except TransientError:
            lost = True
            raise
        except AeternaError:
            ours = written_by(target, token) if lost else None
            if ours is None:
                raise
            return ours

    return retried(attempt, target.backoff)


def written_by(target: Target, token: str) -> ObjectInfo | None:
    """The object, if it is there and the write with this token made it."""
    try:
        answer = target.call("head_object")
    except TransientError:
        raise
    except AeternaError:
        return None  # not there, or not ours to look at: the first refusal is what is told
    return target.info(answer) if answer["Metadata"].get(TOKEN) == token else None


def exists(target: Target) -> ConflictError:
    return ConflictError("object_exists", f"{target.where} exists already")


def server_time(answer: dict[str, Any], where: str) -> datetime:
    """The Date header of an answer: the store's clock, to the second."""
    text = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError) as error:
        raise RemoteError("no_server_clock", f"{where}: the answer has no Date") from error
