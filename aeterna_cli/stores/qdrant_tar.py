"""Snapshot archives: is a streamed tar whole, and is an archive harmless to unpack?

A streamed snapshot has no length and no checksum, and a server that fails while producing it just
ends the body, with status 200. Looking for zero blocks at the end is not enough: a snapshot is full
of preallocated zeros, so a cut inside a file can look like an end. ``TarWalk`` therefore follows
the archive's headers as the bytes pass by.
Source: POSIX ustar and pax, GNU tar's base-256 sizes and old sparse format (type ``S``).
"""

import posixpath
import tarfile
from pathlib import Path
from typing import IO

from aeterna_cli.errors import FailedError, RemoteError, TransientError

_BLOCK = 512
_ZERO = bytes(_BLOCK)
_SIZE_RECORDS = frozenset(b"xg")
_LONGEST_EXTENSION = 1 << 20  # bytes of pax records that we are willing to hold


def _damaged(reason: str) -> RemoteError:
    return RemoteError("snapshot_damaged", f"the snapshot is no sound tar archive: {reason}")


def _number(field: bytes) -> int:
    """A header's number: octal text, or base-256 where the top bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        raise _damaged("a header holds no number where one belongs") from None


class TarWalk:
    """Follows a tar stream. ``feed`` every chunk, then ``finish`` once."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._skip = 0
        self._extension = 0  # bytes of pax records to read before the next header
        self._pax_size: int | None = None
        self._sparse = False
        self._sparse_data = 0
        self._zeros = 0
        self._folders: set[str] = set()

    @property
    def ended(self) -> bool:
        """The end marker, two blocks of zeros where a header belongs, has passed."""
        return self._zeros >= 2

    def feed(self, chunk: bytes) -> None:
        """``RemoteError('snapshot_damaged')`` for what cannot be a tar archive."""
        position = 0
        while position < len(chunk):
            if self._skip:
                step = min(self._skip, len(chunk) - position)
                self._skip -= step
                position += step
                continue
            wanted = (self._extension or _BLOCK) - len(self._pending)
            self._pending += chunk[position : position + wanted]
            position += wanted
            if len(self._pending) == (self._extension or _BLOCK):
                piece = bytes(self._pending)
                self._pending.clear()
                self._piece(piece)

    def finish(self, what: str) -> None:
        """The archive is whole and holds what an engine needs.

        ``TransientError('snapshot_truncated')`` for a stream that ended early;
        ``RemoteError('snapshot_without_wal')`` for one whose later updates would be ignored.
        """
        if not self.ended:
            raise TransientError(
                "snapshot_truncated",
                f"the snapshot of {what} ended before its end marker",
                hint="the server failed while producing it, or the connection broke; "
                "the reason is in the server's log",
            )
        if not {"wal", "segments"} <= self._folders:
            raise RemoteError(
                "snapshot_without_wal",
                f"the snapshot of {what} lacks its wal or segments folder",
                hint="an engine loads it but silently ignores later updates of existing points",
            )

    def _piece(self, piece: bytes) -> None:
        if self._extension:
            self._extension = 0
            self._records(piece)
        elif self._sparse:
            self._sparse_map(more=piece[504] != 0)
        elif self._zeros or piece == _ZERO:
            self._end_block(piece)
        else:
            self._header(piece)

    def _end_block(self, piece: bytes) -> None:
        if piece != _ZERO:
            raise _damaged("something follows its end marker")
        self._zeros += 1

    def _header(self, block: bytes) -> None:
        unsigned = sum(block[:148]) + 8 * 32 + sum(block[156:])
        if _number(block[148:156]) != unsigned:
            raise _damaged("the checksum of a header is wrong")
        kind, size = block[156], _number(block[124:136])
        name = block[:100].split(b"\0", 1)[0].decode(errors="replace")
        self._folders.add(name.removeprefix("./").split("/", 1)[0])
        if kind in _SIZE_RECORDS:
            if size > _LONGEST_EXTENSION:
                raise _damaged("it has an absurdly long extended header")
            self._extension = -(-size // _BLOCK) * _BLOCK
            return
        if self._pax_size is not None and kind != ord("L") and kind != ord("K"):
            size, self._pax_size = self._pax_size, None
        stored = 0 if chr(kind) in "123456" else -(-size // _BLOCK) * _BLOCK
        if kind == ord("S"):
            self._sparse, self._sparse_data = True, stored
            self._sparse_map(more=block[482] != 0)
        else:
            self._skip = stored

    def _sparse_map(self, *, more: bool) -> None:
        """The maps of a sparse file may go on for further blocks before its data begin."""
        if not more:
            self._sparse = False
            self._skip = self._sparse_data

    def _records(self, data: bytes) -> None:
        """Only ``size`` matters: it replaces the next header's for files over 8 GiB."""
        while data and data[0] != 0:
            length, _, rest = data.partition(b" ")
            if not length.isdigit() or not len(length) < int(length) <= len(data):
                raise _damaged("an extended header is malformed")
            key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
            if key == b"size":
                if not value.isdigit():
                    raise _damaged("an extended header is malformed")
                self._pax_size = int(value)
            data = data[int(length) :]


def _hostile(name: str) -> FailedError:
    return FailedError(
        "snapshot_hostile",
        f"the snapshot holds a member that must not be unpacked: {name[:200]!r}",
        hint="no server writes such an archive: treat this backup as tampered with",
    )


def _refuse_hostile(archive: IO[bytes], *, nested: bool) -> None:
    with tarfile.open(fileobj=archive, mode="r:") as tar:
        for member in tar:
            name = member.name
            if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
                raise _hostile(name)
            if not (member.isfile() or member.isdir()):
                raise _hostile(name)
            folder, leaf = posixpath.split(posixpath.normpath(name))
            if not nested and folder == "segments" and leaf.endswith(".tar") and member.isfile():
                inner = tar.extractfile(member)
                if inner is not None:
                    with inner:
                        _refuse_hostile(inner, nested=True)


def refuse_hostile(archive: Path) -> None:
    """Return for an archive of plain files and folders with relative names below its top.

    Segment archives inside (the layout of a non-streamed snapshot) are read too.
    ``FailedError('snapshot_hostile')`` for links, devices, absolute names and ``..``;
    ``FailedError('image_unreadable')`` for what is no tar archive.
    """
    try:
        with archive.open("rb") as stream:
            _refuse_hostile(stream, nested=False)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise FailedError(
            "image_unreadable", f"the snapshot is no readable tar archive: {error}"
        ) from error
