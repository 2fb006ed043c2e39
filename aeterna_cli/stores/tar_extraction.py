"""Unpack a tar stream that may be hostile.

A base backup comes back from a repository that somebody else may have written to, so nothing in the
archive is believed: a member either is a plain file or folder below the destination, or the whole
archive is refused. No link is ever made, therefore no name can lead out of the destination.
PostgreSQL writes plain ustar (no pax or GNU extensions), sizes over 8 GiB in base-256; it ends with
two blocks of zeros. Source: POSIX ustar; PostgreSQL's src/port/tar.c, basebackup protocol (15+).
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from aeterna_cli.errors import FailedError, RemoteError, TransientError

BLOCK = 512
_ZERO = bytes(BLOCK)
_COPY = 1 << 18  # bytes at a time; larger blocks cost a page fault for every page
_LONGEST = 255  # bytes of a member's name
_TABLESPACE_LINK = re.compile(r"^pg_tblspc/([1-9][0-9]{0,9})$")
_FILE_KINDS = frozenset({b"0", b"\0"})


@dataclass(frozen=True)
class Extracted:
    """What an archive held. ``links`` are tablespaces, oid -> path, named and never created."""

    files: int
    folders: int
    bytes: int  # of file contents
    links: dict[int, str] = field(default_factory=dict)


def _unsafe(member: str, reason: str) -> RemoteError:
    return RemoteError(
        "archive_unsafe",
        f"the archive is refused because of its member {member!r}: {reason}",
        hint="PostgreSQL never writes such a member; the stored backup was changed or damaged",
        next_steps=["aeterna-cli backup list  # choose another backup"],
        details={"member": member, "reason": reason},
    )


def _truncated() -> TransientError:
    return TransientError(
        "archive_truncated",
        "the archive ended before its end marker",
        hint="the stream was cut; what was unpacked so far is not a usable copy",
    )


@dataclass(frozen=True)
class _Member:
    name: str
    kind: bytes
    size: int
    link: str


def _text(raw: bytes) -> str:
    return os.fsdecode(raw.split(b"\0", 1)[0])


def _number(raw: bytes, member: str) -> int:
    """A header's number: octal text, or base-256 where the top bit is set."""
    if raw[0] & 0x80:
        return int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
    digits = raw.strip(b" \0") or b"0"
    if not re.fullmatch(rb"[0-7]+", digits):
        raise _unsafe(member, "a number of its header is no number")
    return int(digits, 8)


def _parse(header: bytes) -> _Member:
    name = _text(header[:100])
    if header[257:262] == b"ustar" and header[345]:
        name = f"{_text(header[345:500])}/{name}"
    if _number(header[148:156], name) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
        raise _unsafe(name, "the checksum of its header is wrong")
    size = _number(header[124:136], name)
    return _Member(name, header[156:157], size, _text(header[157:257]))


def _relative(member: _Member) -> str:
    """The member's name as ``a/b/c``, checked part by part; ``.`` for the top folder itself."""
    name = member.name.removeprefix("./").rstrip("/") or "."
    if len(os.fsencode(member.name)) > _LONGEST:
        raise _unsafe(member.name, f"its name is longer than {_LONGEST} bytes")
    if not member.name:
        raise _unsafe(member.name, "it has no name")
    if member.name.startswith("/"):
        raise _unsafe(member.name, "its path is absolute")
    if name != "." and any(part in ("", ".", "..") for part in name.split("/")):
        raise _unsafe(member.name, "its path has empty, '.' or '..' parts")
    return name


class _Source:
    """The stream, counted: not a byte more than was announced is taken from it."""

    def __init__(self, stream: BinaryIO, limit: int | None) -> None:
        self._stream = stream
        self._left = limit

    def block(self, member: str) -> bytes:
        return b"".join(self.pieces(BLOCK, member))

    def pieces(self, size: int, member: str) -> Iterator[bytes]:
        if self._left is not None:
            if size > self._left:
                raise _unsafe(member, "the archive is longer than was announced")
            self._left -= size
        while size:
            piece = self._stream.read(min(size, _COPY))
            if not piece:
                raise _truncated()
            size -= len(piece)
            yield piece

    def expect_end(self) -> None:
        """Only zeros may follow the end marker: tar programs pad to their record size."""
        while piece := self._stream.read(_COPY):
            if self._left is not None:
                self._left -= len(piece)
                if self._left < 0:
                    raise _unsafe("(end)", "the archive is longer than was announced")
            if piece.count(0) != len(piece):
                raise _unsafe("(end)", "something follows the end marker")


class _Extraction:
    def __init__(self, source: _Source, destination: Path) -> None:
        self._source = source
        self._top = destination
        self._announced: set[str] = set()
        self._made = {"."}
        self._links: dict[int, str] = {}
        self._files = self._folders = self._bytes = 0

    def run(self) -> Extracted:
        last = "(start)"
        while (header := self._source.block(last)) != _ZERO:
            member = _parse(header)
            last = member.name
            self._take(member)
        if self._source.block("(end)") != _ZERO:
            raise _unsafe("(end)", "a lone block of zeros lies between members")
        self._source.expect_end()
        return Extracted(self._files, self._folders, self._bytes, self._links)

    def _take(self, member: _Member) -> None:
        name = _relative(member)
        if name in self._announced:
            raise _unsafe(member.name, "it is there twice")
        self._announced.add(name)
        try:
            if member.kind in _FILE_KINDS and name != "." and not member.name.endswith("/"):
                self._file(name, member)
            elif member.kind == b"5" and member.size == 0:
                self._folder(name)
            elif member.kind == b"2" and member.size == 0:
                self._link(name, member)
            else:
                raise _unsafe(member.name, f"it is no file and no folder (type {member.kind!r})")
        except OSError as error:
            _raise_os(error, member)

    def _file(self, name: str, member: _Member) -> None:
        self._folder(name.rpartition("/")[0] or ".")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(self._top / name, flags, 0o600)
        try:
            for piece in self._source.pieces(member.size, member.name):
                view = memoryview(piece)
                while view:
                    view = view[os.write(target, view) :]
        finally:
            os.close(target)
        for _ in self._source.pieces(-member.size % BLOCK, member.name):
            pass
        self._files += 1
        self._bytes += member.size

    def _folder(self, name: str) -> None:
        if name in self._made:
            return
        self._folder(name.rpartition("/")[0] or ".")
        (self._top / name).mkdir(mode=0o700)
        self._made.add(name)
        self._folders += 1

    def _link(self, name: str, member: _Member) -> None:
        """A tablespace's link is only noted: its target is a path of another machine."""
        tablespace = _TABLESPACE_LINK.match(name)
        if tablespace is None:
            raise _unsafe(member.name, "it is a link")
        self._links[int(tablespace[1])] = member.link


def _raise_os(error: OSError, member: _Member) -> NoReturn:
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        raise _unsafe(member.name, "its path is that of another member") from error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise FailedError(
            "disk_full",
            f"the disk is full at {member.name!r}",
            hint="free space, or choose another work folder, and run the same command again",
        ) from error
    raise FailedError(
        "extraction_failed", f"cannot write {member.name!r}: {error.strerror}"
    ) from error


def extract(stream: BinaryIO, destination: Path, *, limit_bytes: int | None) -> Extracted:
    """Unpack one tar stream into ``destination``, which must be empty or absent.

    Files get mode 0600, folders 0700, both the caller's owner; memory is bounded; nothing is synced
    (see ``sync_tree``). ``limit_bytes`` is the announced length of the tar stream itself, headers
    and padding counted. On any error what is there is incomplete and must be thrown away.
    ``RemoteError('archive_unsafe')`` names the first member that is not harmless: absolute or
    climbing path, link, device, a path twice, a name over 255 bytes, more bytes than announced.
    ``TransientError('archive_truncated')``, ``FailedError('disk_full' | 'extraction_failed')``,
    ``FailedError('destination_not_empty')``.
    """
    try:
        destination.mkdir(mode=0o700, parents=True, exist_ok=True)
        occupied = any(destination.iterdir())
        destination.chmod(0o700)
    except OSError as error:
        raise FailedError(
            "extraction_failed", f"cannot use {destination}: {error.strerror}"
        ) from error
    if occupied:
        raise FailedError(
            "destination_not_empty",
            f"{destination} is not empty",
            hint="an archive is only unpacked into a new folder",
        )
    return _Extraction(_Source(stream, limit_bytes), destination).run()


def sync_tree(path: Path) -> None:
    """Every file and folder below ``path``, and its entry in its parent, is on disk on return.

    Links are not followed. ``FailedError('sync_failed')`` where the disk refuses.
    """
    try:
        for folder, _, names in os.walk(path):
            for name in names:
                if not os.path.islink(entry := os.path.join(folder, name)):  # noqa: PTH114, PTH118 - Path objects dominate the time on large trees
                    _sync(entry)
            _sync(folder)
        _sync(path.parent)
    except OSError as error:
        raise FailedError("sync_failed", f"cannot sync {path}: {error.strerror}") from error


def _sync(entry: str | Path) -> None:
    handle = os.open(entry, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
