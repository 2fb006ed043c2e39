"""The WAL feeder, driven by its own shell command as PostgreSQL would."""

import subprocess
from pathlib import Path

import pytest

from aeterna_cli.errors import RemoteError
from aeterna_cli.repository.wal_archive import segment_name
from aeterna_cli.workflows.restore.feeder import Feeder

SIZE = 16 << 20


class Segments:
    """``count`` segments of a few bytes; ``damaged`` raises."""

    def __init__(self, count: int, damaged: str = "") -> None:
        self.known = {segment_name(1, n * SIZE, SIZE): b"%d" % n for n in range(count)}
        self.damaged = damaged
        self.read: list[str] = []

    def segment(self, name: str) -> bytes | None:
        self.read.append(name)
        if name == self.damaged:
            raise RemoteError("wal_chunk_damaged", "flipped")
        return self.known.get(name)

    def history(self, timeline: int) -> bytes | None:
        return b"1\t0/0\tx\n" if timeline == 2 else None


def fetch(feeder: Feeder, name: str, folder: Path) -> int:
    command = feeder.restore_command.replace("%f", name).replace("%p", "got")
    return subprocess.run(["sh", "-c", command], cwd=folder, check=False, timeout=30).returncode


def test_segments_arrive_in_order_and_reading_ahead_is_bounded(tmp_path: Path) -> None:
    source = Segments(40)
    with Feeder(source, tmp_path / "spool", ahead=4, segment_size=SIZE) as feeder:
        for number in range(20):
            assert fetch(feeder, segment_name(1, number * SIZE, SIZE), tmp_path) == 0
            assert (tmp_path / "got").read_bytes() == b"%d" % number
            assert len(list((tmp_path / "spool" / "ready").iterdir())) <= 4
    assert len(source.read) <= 20 + 5 + 1
    assert not (tmp_path / "spool").exists()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with Feeder(Segments(2), tmp_path / "spool", ahead=4, segment_size=SIZE) as feeder:
        assert fetch(feeder, segment_name(1, 7 * SIZE, SIZE), tmp_path) == 1
        assert fetch(feeder, "00000003.history", tmp_path) == 1
        assert fetch(feeder, "00000002.history", tmp_path) == 0
        assert fetch(feeder, "something.else", tmp_path) == 1
        assert fetch(feeder, segment_name(1, SIZE, SIZE), tmp_path) == 0


def test_damage_ends_the_recovery_and_is_kept(tmp_path: Path) -> None:
    broken = segment_name(1, 3 * SIZE, SIZE)
    with Feeder(Segments(9, broken), tmp_path / "spool", ahead=1, segment_size=SIZE) as feeder:
        assert fetch(feeder, segment_name(1, 2 * SIZE, SIZE), tmp_path) == 0
        assert fetch(feeder, broken, tmp_path) == 255
        assert feeder.error is not None
        assert feeder.error.code == "wal_chunk_damaged"


def test_the_command_does_not_outlive_a_dead_feeder(tmp_path: Path) -> None:
    with Feeder(Segments(1), tmp_path / "spool", ahead=1, segment_size=SIZE) as feeder:
        script = tmp_path / "spool" / "fetch"
        script.write_text(script.read_text().replace("/proc/", "/proc/none-"))
        (tmp_path / "spool" / "none").rmdir()  # the feeder can no longer answer
        assert fetch(feeder, segment_name(1, 5 * SIZE, SIZE), tmp_path) == 255


def test_a_path_with_a_quote_is_refused(tmp_path: Path) -> None:
    feeder = Feeder(Segments(1), tmp_path / "a'b", ahead=1, segment_size=SIZE)
    with pytest.raises(Exception, match="quote"):
        feeder.__enter__()
