"""The ticker and the window it gives to an image."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from aeterna_cli.errors import TransientError
from aeterna_cli.workflows.backup.markers import TICK, Tick, Ticker, window

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Recorder:
    """Takes markers; fails at number ``fail_at``."""

    def __init__(self, fail_at: int = -1) -> None:
        self.numbers: list[int] = []
        self.third = threading.Event()
        self._fail_at = fail_at

    def write_marker(self, number: int) -> None:
        if number == self._fail_at:
            self.third.set()
            raise TransientError("gone", "the store went away")
        self.numbers.append(number)
        if number >= 3:
            self.third.set()


def test_every_store_gets_every_number_in_order() -> None:
    stores = {"a": Recorder(), "b": Recorder()}
    ticker = Ticker(stores, lambda: datetime.now(UTC))
    ticker.start()
    assert stores["a"].numbers == stores["b"].numbers == [1]
    assert stores["a"].third.wait(20 * TICK)
    ticks = ticker.stop()
    assert stores["a"].numbers == stores["b"].numbers == [t.number for t in ticks]
    assert [t.number for t in ticks] == list(range(1, len(ticks) + 1))
    assert len(ticks) >= 4


def test_a_store_that_goes_away_is_reported_at_stop() -> None:
    broken = Recorder(fail_at=2)
    ticker = Ticker({"a": broken}, lambda: T0)
    ticker.start()
    assert broken.third.wait(20 * TICK)
    with pytest.raises(TransientError, match="went away"):
        ticker.stop()


def test_abandoning_is_silent_even_before_the_start() -> None:
    ticker = Ticker({"a": Recorder()}, lambda: T0)
    ticker.abandon()
    ticker.start()
    ticker.abandon()


def test_the_marker_narrows_the_window() -> None:
    ticks = tuple(Tick(n, at(n), at(n + 0.1)) for n in range(1, 6))
    narrow = window(ticks, at(0), at(10), 3)
    assert (narrow.earliest, narrow.latest) == (at(3), at(4.1))
    assert narrow.skew_milliseconds(at(5)) == 2000
    assert narrow.skew_milliseconds(at(1)) == 0
    wide = window(ticks, at(0), at(10), None)
    assert (wide.earliest, wide.latest) == (at(0), at(10))
    last = window(ticks, at(0), at(10), 5)
    assert (last.earliest, last.latest) == (at(5), at(10))
