"""Redis in a recovery point: an RDB over the replication protocol, and what it really holds."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores import binaries

if TYPE_CHECKING:
    from aeterna_cli.repository.pipeline import VolumeRecord
    from aeterna_cli.stores.redis import RedisServer
    from aeterna_cli.stores.redis_scratch import ScratchRedis
    from aeterna_cli.workflows.backup.volumes import Volumes

Inside = tuple[dict[str, Any] | None, int | None]
IMAGE, LOGICAL, CONFIGURATION = "dump.rdb", "keys.resp", "configuration.json"


@dataclass(frozen=True)
class RedisCapture:
    """``method`` is ``rdb`` (one moment) or ``logical`` (none). ``digests`` is None where no server
    program was there to open the image."""

    method: str
    volumes: tuple["VolumeRecord", ...]
    digests: dict[str, Any] | None
    marker: int | None
    facts: dict[str, Any]


def capture(
    server: "RedisServer",
    volumes: "Volumes",
    work: Path,
    *,
    program: Path | None,
    on_bytes: Callable[[int], None],
) -> RedisCapture:
    """The image sealed, then loaded into a scratch server that says what is in it.

    Where the server refuses to replicate (managed servers), keys are read one by one and the
    capture is labelled ``logical``: not a point in time.
    """
    beside = _configuration(server, volumes)
    copy = work / IMAGE
    try:
        image, facts = _rdb(server, volumes, copy, on_bytes)
    except RefusedError as error:
        if error.code != "sync_refused":
            raise
        return _logical(server, volumes, beside, work, program)
    digests, marker = _look_inside(copy, _scratch(server, work, program))
    copy.unlink()
    return RedisCapture("rdb", (image, beside), digests, marker, facts)


def _configuration(server: "RedisServer", volumes: "Volumes") -> "VolumeRecord":
    """ACL users (with their password hashes) and configuration: only ever stored encrypted."""
    content = {"acl": list(server.acl_users()), "configuration": dict(server.configuration())}
    with volumes.open("redis", CONFIGURATION) as writer:
        writer.write(json.dumps(content, indent=1, sort_keys=True).encode())
        return writer.commit()


def _rdb(
    server: "RedisServer",
    volumes: "Volumes",
    copy: Path,
    on_bytes: Callable[[int], None],
) -> tuple["VolumeRecord", dict[str, Any]]:
    with ExitStack() as stack:
        writer = stack.enter_context(volumes.open("redis", IMAGE))
        file: BinaryIO = stack.enter_context(copy.open("wb"))
        done = 0

        def take(block: memoryview) -> None:
            nonlocal done
            writer.write(block)
            file.write(block)
            done += len(block)
            on_bytes(done)

        result = server.capture_rdb(take)
        record = writer.commit()
    return record, asdict(result)


def _look_inside(copy: Path, opening: AbstractContextManager["ScratchRedis | None"]) -> Inside:
    """Digests and the marker of the image, by a scratch server; (None, None) without a program."""
    with opening as scratch:
        if scratch is None:
            return None, None
        scratch.start(copy)
        return scratch.server.digests().as_document(), scratch.server.marker()


def _logical(
    server: "RedisServer",
    volumes: "Volumes",
    beside: "VolumeRecord",
    work: Path,
    program: Path | None,
) -> RedisCapture:
    """The keys are sealed while a scratch server takes them in, which then says what they are."""
    digests, marker = None, None
    with volumes.open("redis", LOGICAL) as writer, _scratch(server, work, program) as scratch:

        def sealed() -> Iterator[bytes]:
            for block in server.logical_capture():
                writer.write(block)
                yield block

        if scratch is None:
            for _ in sealed():
                pass
        else:
            scratch.start()
            scratch.server.logical_restore(sealed(), replace=True)
            digests, marker = scratch.server.digests().as_document(), scratch.server.marker()
        record = writer.commit()
    return RedisCapture("logical", (record, beside), digests, marker, {})


@contextmanager
def _scratch(
    server: "RedisServer", work: Path, program: Path | None
) -> Iterator["ScratchRedis | None"]:
    from aeterna_cli.stores.redis_scratch import ScratchRedis

    try:
        binary = binaries.redis_server(program)
    except RefusedError as error:
        if error.code != "redis_server_missing":
            raise
        yield None
        return
    database = server.settings.database
    with ScratchRedis(binary, work / "scratch-redis", database=database) as scratch:
        yield scratch
