"""A hostile archive is refused as a whole; a sound one comes out byte for byte."""

import errno
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aeterna_cli.errors import AeternaError, FailedError, RemoteError, TransientError
from aeterna_cli.stores.tar_extraction import extract, sync_tree


def member(name: str, content: bytes = b"", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def archive(
    *members: tuple[tarfile.TarInfo, bytes], format_: int = tarfile.USTAR_FORMAT
) -> io.BytesIO:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format_) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    output.seek(0)
    return output


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o777)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def test_a_base_backup_comes_out_with_private_modes(tmp_path: Path) -> None:
    stream = archive(
        member("backup_label", b"START WAL", mode=0o777),
        folder("./base"),
        folder("base/1"),
        member("base/1/16384", b"x" * 3_000_000, mode=0o4755),
        folder("pg_tblspc"),
        link("pg_tblspc/16400", "/srv/fast"),
    )
    top = tmp_path / "data"
    found = extract(stream, top, limit_bytes=len(stream.getvalue()))
    assert (found.files, found.folders, found.bytes) == (2, 3, 3_000_009)
    assert found.links == {16400: "/srv/fast"}
    assert (top / "base/1/16384").read_bytes() == b"x" * 3_000_000
    assert list((top / "pg_tblspc").iterdir()) == []
    for path in (top, *top.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    sync_tree(top)


HOSTILE = {
    "absolute": (member("/etc/cron.d/x", b"x"), "absolute"),
    "climbing": (member("../x", b"x"), "parts"),
    "climbing inside": (member("base/../../x", b"x"), "parts"),
    "dot part": (member("base/./x", b"x"), "parts"),
    "empty part": (member("base//x", b"x"), "parts"),
    "only dots": (member(".."), "parts"),
    "no name": (member(""), "no name"),
    "link": (link("postgresql.conf", "/etc/passwd"), "is a link"),
    "tablespace link out of its folder": (link("pg_tblspc/../x", "/etc"), "parts"),
    "tablespace link of a strange name": (link("pg_tblspc/x", "/etc"), "is a link"),
    "tablespace link below a tablespace": (link("pg_tblspc/1/2", "/etc"), "is a link"),
    "hard link": (link("x", "backup_label", tarfile.LNKTYPE), "type b'1'"),
    "device": (member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "type b'3'"),
    "pipe": (member("pipe", type=tarfile.FIFOTYPE), "type b'6'"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_named(name: str, tmp_path: Path) -> None:
    (info, content), reason = HOSTILE[name]
    stream = archive(member("backup_label", b"ok"), (info, content))
    with pytest.raises(RemoteError, match=reason) as raised:
        extract(stream, tmp_path / "data", limit_bytes=None)
    assert raised.value.code == "archive_unsafe"
    assert raised.value.details["member"].rstrip("/") == info.name.rstrip("/")
    outside = [path for path in tmp_path.rglob("*") if path.name not in ("data", "backup_label")]
    assert [path for path in outside if path.is_symlink() or path.is_file()] == []


@pytest.mark.parametrize(
    "members",
    [
        (member("a", b"1"), member("a", b"2")),
        (member("a", b"1"), member("./a", b"2")),
        (folder("a"), member("a", b"1")),
        (member("a/b", b"1"), member("a", b"2")),
        (member("a", b"1"), member("a/b", b"2")),
        (member("a", b"1"), folder("a/b")),
        (link("pg_tblspc/1", "/x"), folder("pg_tblspc/1")),
    ],
)
def test_a_path_is_used_once(
    members: tuple[tuple[tarfile.TarInfo, bytes], ...], tmp_path: Path
) -> None:
    with pytest.raises(RemoteError, match=r"twice|another member"):
        extract(archive(*members), tmp_path / "data", limit_bytes=None)


def test_a_link_never_becomes_a_way_out(tmp_path: Path) -> None:
    """The oldest trick: a link, then a file through it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    stream = archive(link("pg_tblspc/1", str(outside)), member("pg_tblspc/1/x", b"evil"))
    extract(stream, tmp_path / "data", limit_bytes=None)
    assert list(outside.iterdir()) == []
    assert (tmp_path / "data/pg_tblspc/1/x").read_bytes() == b"evil"


def test_pax_and_gnu_names_are_refused(tmp_path: Path) -> None:
    long = member("x" * 300, b"1")
    for number, format_ in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        with pytest.raises(RemoteError, match="refused"):
            extract(archive(long, format_=format_), tmp_path / str(number), limit_bytes=None)


def test_a_name_over_255_bytes_is_refused(tmp_path: Path) -> None:
    longest = member(f"{'p' * 155}/{'n' * 100}", b"1")
    with pytest.raises(RemoteError, match="longer than 255"):
        extract(archive(longest), tmp_path / "data", limit_bytes=None)


def test_more_bytes_than_announced_are_a_bomb(tmp_path: Path) -> None:
    stream = archive(member("a", b"x" * 100_000), member("b", b"x"))
    size = len(stream.getvalue())
    with pytest.raises(RemoteError, match="longer than was announced"):
        extract(stream, tmp_path / "data", limit_bytes=size - 1)
    stream.seek(0)
    assert extract(stream, tmp_path / "whole", limit_bytes=size).files == 2


def test_a_header_that_lies_about_its_size_writes_nothing_of_it(tmp_path: Path) -> None:
    stream = archive(member("huge", b""))
    header = bytearray(stream.getvalue()[:512])
    header[124:136] = b"\x80" + (1 << 50).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(RemoteError, match=r"'huge'.*longer than was announced"):
        extract(io.BytesIO(bytes(header)), tmp_path / "data", limit_bytes=10_000)


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 1024, 1536])
def test_a_cut_archive_is_never_taken_for_a_whole_one(cut: int, tmp_path: Path) -> None:
    whole = archive(member("a", b"x" * 600)).getvalue()
    with pytest.raises(TransientError) as raised:
        extract(io.BytesIO(whole[:cut]), tmp_path / "data", limit_bytes=None)
    assert raised.value.code == "archive_truncated"


@pytest.mark.parametrize("tail", [b"x", b"\0" * 5000 + b"x"])
def test_nothing_may_follow_the_end(tail: bytes, tmp_path: Path) -> None:
    stream = io.BytesIO(archive(member("a", b"1")).getvalue() + tail)
    with pytest.raises(RemoteError, match="follows the end"):
        extract(stream, tmp_path / "data", limit_bytes=None)


def test_a_flipped_bit_in_a_header_is_seen(tmp_path: Path) -> None:
    content = bytearray(archive(member("abc", b"1")).getvalue())
    content[0] ^= 1
    with pytest.raises(RemoteError, match="checksum"):
        extract(io.BytesIO(bytes(content)), tmp_path / "data", limit_bytes=None)


def test_a_used_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(FailedError, match="not empty"):
        extract(archive(member("mine", b"1")), tmp_path, limit_bytes=None)
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_full_disk_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FailedError) as raised:
        extract(archive(member("a", b"x")), tmp_path / "data", limit_bytes=None)
    assert raised.value.code == "disk_full"


part = st.text("ab./\0é", max_size=5)
kinds = st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"6", b"x", b"L", b"\0"])


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(part, kinds, st.binary(max_size=600), part), max_size=5), st.data())
def test_whatever_comes_stays_inside(
    tmp_path: Path, members: list[tuple[str, bytes, bytes, str]], data: st.DataObject
) -> None:
    top = tmp_path / os.urandom(8).hex()
    raw = bytearray()
    for name, kind, content, target in members:
        info = tarfile.TarInfo()
        info.name, info.size, info.type, info.linkname = name, len(content), kind, target
        raw += info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)
    raw += bytes(1024)
    if data.draw(st.booleans()):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = extract(io.BytesIO(bytes(raw)), top / "data", limit_bytes=len(raw))
    except AeternaError as error:
        assert error.code in ("archive_unsafe", "archive_truncated", "extraction_failed")  # noqa: PT017 - the other outcome is as welcome
    else:
        files = [path for path in top.rglob("*") if path.is_file()]
        assert len(files) == found.files
    assert [path.name for path in top.iterdir()] in ([], ["data"])
    assert not any(path.is_symlink() for path in top.rglob("*"))
