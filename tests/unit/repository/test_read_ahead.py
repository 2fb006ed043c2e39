"""A stream read ahead is the same stream, ends when it is left, and fails where it failed."""

import io
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.repository.read_ahead import ReadAhead


class Source(io.RawIOBase):
    """Gives ``data`` in uneven pieces; fails at its end where it is told to."""

    def __init__(self, data: bytes, failure: Exception | None = None) -> None:
        super().__init__()
        self.left, self.failure, self.reads = data, failure, 0

    def readinto(self, buffer: Any, /) -> int:
        self.reads += 1
        if not self.left and self.failure is not None:
            raise self.failure
        count = min(len(buffer), len(self.left), 1 + self.reads * 7919 % 300_000)
        buffer[:count], self.left = self.left[:count], self.left[count:]
        return count


def nothing() -> None:
    """This source never blocks."""


@given(st.integers(0, 1_500_000), st.integers(2_000, 700_000))
def test_the_bytes_are_the_same(size: int, step: int) -> None:
    data = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    with ReadAhead(Source(data), nothing) as ahead:
        found = b""
        while piece := ahead.read(step):
            found += piece
        assert found == data
        assert ahead.read(1) == b""


def test_an_error_is_raised_at_its_place_and_ever_after() -> None:
    with ReadAhead(Source(b"x" * 100, ValueError("broken")), nothing) as ahead:
        assert b"".join(ahead.read(10) for _ in range(10)) == b"x" * 100
        with pytest.raises(ValueError, match="broken"):
            ahead.read(10)
        with pytest.raises(ValueError, match="broken"):
            ahead.read(10)


def test_draining_reads_to_the_end() -> None:
    source = Source(b"x" * 3_000_000)
    with ReadAhead(source, nothing) as ahead:
        ahead.read(10)
        ahead.drain()
        assert source.left == b""
        assert ahead.read(1) == b""


def test_draining_raises_what_the_end_says() -> None:
    with (
        ReadAhead(Source(b"x" * 3_000_000, ValueError("wrong hash")), nothing) as ahead,
        pytest.raises(ValueError, match="wrong hash"),
    ):
        ahead.drain()


def test_leaving_frees_a_source_that_waits() -> None:
    class Waiting(Source):
        def readinto(self, buffer: Any, /) -> int:
            waiting.set()
            assert freed.wait(30)
            return 0

    waiting, freed = Event(), Event()
    with ReadAhead(Waiting(b""), freed.set):
        assert waiting.wait(30)
    assert freed.is_set()


def test_it_reads_no_more_than_a_few_blocks_ahead() -> None:
    source = Source(b"x" * 10_000_000)
    with ReadAhead(source, nothing) as ahead:
        ahead.read(1)
    assert len(source.left) > 8_000_000
