"""The right-cluster guard."""

from pathlib import Path

import pytest

from aeterna_cli.errors import FailedError, RefusedError
from aeterna_cli.workflows.pins import Pins


def test_the_first_server_is_pinned_and_another_is_refused(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "state")
    pins.check({"postgres": "1"})
    pins.record({"postgres": "1", "redis": None})
    pins.record({"postgres": "2", "redis": "r"})  # a pin is never moved by recording
    assert pins.read() == {"postgres": "1", "redis": "r"}
    pins.check({"postgres": "1", "redis": "r"})
    with pytest.raises(RefusedError, match="pinned to 1") as refused:
        pins.check({"postgres": "2"})
    assert refused.value.code == "another_cluster"
    assert pins.forget("postgres")
    assert not pins.forget("postgres")
    pins.check({"postgres": "2"})


def test_an_emptied_server_is_only_fine_for_a_restore(tmp_path: Path) -> None:
    pins = Pins(tmp_path)
    pins.record({"redis": "r"})
    pins.check({"redis": None}, lost_is_fine=True)
    with pytest.raises(RefusedError, match="without identity"):
        pins.check({"redis": None})
    with pytest.raises(RefusedError):
        pins.check({"redis": "other"}, lost_is_fine=True)


def test_a_damaged_file_is_not_a_fresh_start(tmp_path: Path) -> None:
    (tmp_path / "pins.json").write_text("{", encoding="utf-8")
    with pytest.raises(FailedError, match="cannot read"):
        Pins(tmp_path).check({"redis": "r"})
