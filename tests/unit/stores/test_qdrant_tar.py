"""Archives: whole or cut, harmless or hostile."""

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from aeterna_cli.errors import FailedError, RemoteError, TransientError
from aeterna_cli.stores.qdrant_tar import TarWalk, refuse_hostile

LONG = "segments/" + "x" * 120 + "/file"


def archive_of(folder: Path, *options: str) -> bytes:
    """GNU tar of a folder with a file of holes, a long name, and a file of zeros."""
    (folder / "wal").mkdir(parents=True)
    (folder / "wal" / "open-1").write_bytes(bytes(70_000))
    with (folder / "wal" / "holes").open("wb") as file:
        for hole in range(40):
            file.seek(hole << 16)
            file.write(b"x" * 4096)
        file.truncate(64 << 16)
    (folder / LONG).parent.mkdir(parents=True)
    (folder / LONG).write_bytes(b"data" * 300)
    (folder / "segments" / "empty").touch()
    command = ["tar", *options, "-C", str(folder), "-cf", "-", "wal", "segments"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def walk(data: bytes, step: int = 1 << 16) -> TarWalk:
    walked = TarWalk()
    for position in range(0, len(data), step):
        walked.feed(data[position : position + step])
    return walked


@pytest.mark.parametrize("options", [("-S", "--format=gnu"), ("--format=gnu",), ("--format=pax",)])
@pytest.mark.parametrize("step", [1 << 16, 511, 7])
def test_whole_archives_are_whole(tmp_path: Path, options: tuple[str, ...], step: int) -> None:
    data = archive_of(tmp_path, *options)
    walk(data, step).finish("a shard")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert len(tar.getmembers()) >= 6


@pytest.mark.parametrize("options", [("-S", "--format=gnu"), ("--format=pax",)])
def test_an_archive_cut_anywhere_is_truncated(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Also inside a file full of zeros, where the tail looks like an end marker."""
    data = archive_of(tmp_path, *options)
    end = len(data.rstrip(b"\0"))
    cuts = {*range(0, end, 1777), 20_480 + 1536}
    for cut in cuts:
        with pytest.raises(TransientError) as caught:
            walk(data[:cut]).finish("a shard")
        assert caught.value.code == "snapshot_truncated"


def test_the_zeros_of_a_file_do_not_end_an_archive(tmp_path: Path) -> None:
    data = archive_of(tmp_path, "--format=gnu")
    cut = data.index(b"open-1") // 512 * 512 + 512 + 4096
    assert data[cut - 1024 : cut] == bytes(1024)
    assert not walk(data[:cut]).ended


def test_a_size_in_an_extended_header_counts() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("wal/a", "segments/b"):
            member = tarfile.TarInfo(name)
            member.size = 1000
            member.pax_headers = {"size": "1000", "comment": "x" * 600}
            tar.addfile(member, io.BytesIO(b"\1" * 1000))
    walk(buffer.getvalue(), 100).finish("a shard")


def test_a_damaged_header_is_damage(tmp_path: Path) -> None:
    data = bytearray(archive_of(tmp_path, "--format=gnu"))
    data[3] ^= 1
    with pytest.raises(RemoteError) as caught:
        walk(bytes(data))
    assert caught.value.code == "snapshot_damaged"


@pytest.mark.parametrize("junk", [b"\x1f\x8b" + b"z" * 600, b"<html>" * 200])
def test_junk_is_damage(junk: bytes) -> None:
    with pytest.raises(RemoteError):
        walk(junk)


def test_a_snapshot_without_wal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "one").write_bytes(b"1")
    command = ["tar", "-C", str(tmp_path), "-cf", "-", "segments"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    with pytest.raises(RemoteError) as caught:
        walk(data).finish("a shard")
    assert caught.value.code == "snapshot_without_wal"


def _link(tar: tarfile.TarFile, kind: bytes) -> None:
    member = tarfile.TarInfo("wal/link")
    member.type, member.linkname = kind, "/etc/passwd"
    tar.addfile(member)


def _named(tar: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.size = 1
    tar.addfile(member, io.BytesIO(b"x"))


def _nested(tar: tarfile.TarFile) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as nested:
        _named(nested, "../../outside")
    member = tarfile.TarInfo("./segments/0.tar")
    member.size = len(inner.getvalue())
    tar.addfile(member, io.BytesIO(inner.getvalue()))


@pytest.mark.parametrize(
    "poison",
    [
        lambda tar: _named(tar, "../outside"),
        lambda tar: _named(tar, "wal/../../outside"),
        lambda tar: _named(tar, "/etc/outside"),
        lambda tar: _link(tar, tarfile.SYMTYPE),
        lambda tar: _link(tar, tarfile.LNKTYPE),
        lambda tar: _link(tar, tarfile.CHRTYPE),
        lambda tar: _link(tar, tarfile.FIFOTYPE),
        _nested,
    ],
)
def test_hostile_archives_are_refused(
    tmp_path: Path, poison: Callable[[tarfile.TarFile], None]
) -> None:
    path = tmp_path / "hostile.tar"
    with tarfile.open(path, "w") as tar:
        _named(tar, "wal/fine")
        poison(tar)
    with pytest.raises(FailedError) as caught:
        refuse_hostile(path)
    assert caught.value.code == "snapshot_hostile"


def test_a_harmless_archive_passes(tmp_path: Path) -> None:
    path = tmp_path / "fine.tar"
    path.write_bytes(archive_of(tmp_path / "tree", "-S", "--format=gnu"))
    refuse_hostile(path)


def test_junk_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "junk"
    path.write_bytes(b"nothing like a tar archive" * 100)
    with pytest.raises(FailedError) as caught:
        refuse_hostile(path)
    assert caught.value.code == "image_unreadable"
