"""What a captured shard snapshot really holds, read by Qdrant's own engine in a child process."""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from aeterna_cli.errors import AeternaError, FailedError, RefusedError
from aeterna_cli.stores.base.qdrant import PointDigest
from aeterna_cli.stores.qdrant_digests import DigestSum
from aeterna_cli.stores.qdrant_marker import marker_number
from aeterna_cli.stores.qdrant_selection import PointTest

_CHILD = "aeterna_cli.stores.qdrant_image_process"
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV")
_KEPT_PREFIXES = ("PYTHON", "COVERAGE")
_LONGEST_LINE = 64 << 20
_NO_POINT = (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error)


@dataclass(frozen=True)
class ImageFacts:
    """What an image holds. ``ids_path`` names a file of the ids, one a line: whole numbers first,
    then UUIDs, each ascending. ``marker`` is set for our own collection's image only."""

    points: int
    digest: str
    marker: int | None
    ids_path: Path

    @property
    def point_digest(self) -> PointDigest:
        return PointDigest(self.points, self.digest)


def _environment() -> dict[str, str]:
    """No secret of ours reaches a process that parses foreign data."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }


def image_facts(
    snapshot: Path, work_dir: Path, *, name: str = "image", timeout: float = 3600
) -> ImageFacts:
    """Open a shard snapshot and count, digest and list its points. Memory stays bounded.

    ``work_dir`` must hold the unpacked shard for a moment; only ``<name>.ids`` is left in it.
    The snapshot is trusted in nothing: an archive with links, absolute names or ``..`` is
    ``FailedError('snapshot_hostile')``, one that the engine cannot read ``('image_unreadable')``,
    a dying engine ``('image_engine_died')``, a slow one ``('image_engine_slow')``.
    ``RefusedError('qdrant_engine_missing')`` where the engine is not installed.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    ids_path = work_dir / f"{name}.ids"
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work_dir))
    try:
        answer = _ask_child(snapshot, folder, folder / "ids", timeout=timeout)
        (folder / "ids").replace(ids_path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ImageFacts(answer["points"], answer["digest"], answer["marker"], ids_path)


def image_points(
    snapshot: Path, work_dir: Path, target: Path, test: PointTest, *, timeout: float = 3600
) -> PointDigest:
    """Write the points of a shard snapshot that ``test`` is true for to ``target``, as NDJSON of
    ``id``, ``vector`` and ``payload``; how many, and their digest.

    Errors as of ``image_facts``; nothing but ``target`` is left in ``work_dir``.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="points-", dir=work_dir))
    try:
        # A tenant's slug is no secret, but argv has a limit: a document of a few hundred bytes.
        asked = json.dumps(asdict(test))
        answer = _ask_child(snapshot, folder, folder / "points", asked, timeout=timeout)
        (folder / "points").replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return PointDigest(answer["points"], answer["digest"])


def _ask_child(
    snapshot: Path, folder: Path, target: Path, *asked: str, timeout: float
) -> dict[str, Any]:
    command = [sys.executable, "-m", _CHILD, str(snapshot), str(folder), str(target), *asked]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=_environment(),
            process_group=0,
        )
    except subprocess.TimeoutExpired as error:
        raise FailedError(
            "image_engine_slow", f"opening the snapshot took longer than {timeout:g} s"
        ) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and "error" in answer:
        raise _child_error(answer)
    if done.returncode != 0 or not isinstance(answer, dict):
        tail = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise FailedError(
            "image_engine_died",
            f"the Qdrant engine died (status {done.returncode}) reading this snapshot",
            hint=(tail[0][:300] if tail else "") or "the snapshot is damaged",
        )
    return answer


def _child_error(answer: dict[str, str]) -> AeternaError:
    if answer["error"] == "qdrant_engine_missing":
        return RefusedError(
            answer["error"],
            answer["message"],
            next_steps=["install aeterna-cli again: qdrant-edge-py belongs to it"],
        )
    return FailedError(answer["error"], answer["message"], hint=answer.get("hint", ""))


def lines_of(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a byte stream without their ends; memory holds one line and one chunk.

    ``FailedError('logical_image_damaged')`` for a last line without its end.
    """
    rest = b""
    for chunk in stream:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            raise _damaged_line("a line is absurdly long")
    if rest:
        raise _damaged_line("the last line is incomplete")


def _damaged_line(reason: str) -> FailedError:
    return FailedError("logical_image_damaged", f"the logical image cannot be read: {reason}")


def logical_facts(stream: Iterable[bytes], work_dir: Path, *, name: str = "image") -> ImageFacts:
    """The same facts of a logical image (NDJSON as ``logical_capture`` gives it), no engine needed.

    ``FailedError('logical_image_damaged')`` for anything but whole points.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    ids_path = work_dir / f"{name}.ids"
    digest = DigestSum()
    marker: int | None = None
    with ids_path.open("w", encoding="ascii") as file:
        for line in lines_of(stream):
            try:
                point = orjson.loads(line)
                digest.add(point["id"], point.get("vector"), point.get("payload"))
            except _NO_POINT as error:
                raise _damaged_line(f"line {digest.points + 1} is no point") from error
            file.write(f"{point['id']}\n")
            found = marker_number(point["id"], point.get("payload"))
            marker = found if marker is None else marker
    result = digest.result()
    return ImageFacts(result.points, result.digest, marker, ids_path)
