"""A hold that is over before a write ends, or that a write slips through, would be no hold."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.lab.workload import folder as folders
from aeterna_cli.lab.workload.folder import Description, Moved
from aeterna_cli.lab.workload.gate import Gate, Stopped
from aeterna_cli.lab.workload.hold import act, main
from aeterna_cli.stores.base.placement import PointsPlace

PLACE = PointsPlace("", "here")


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path, 0)


def test_hold_waits_for_the_write_that_runs_and_lets_none_begin(gate: Gate) -> None:
    stop, inside, leave = threading.Event(), threading.Event(), threading.Event()
    events: list[str] = []

    def write() -> None:
        with gate.passed(stop, obey=True):
            inside.set()
            leave.wait()
            events.append("first write ends")
        with gate.passed(stop, obey=True):
            events.append("second write")

    def hold() -> None:
        gate.hold()
        events.append("held")

    writer, holder = threading.Thread(target=write), threading.Thread(target=hold)
    writer.start()
    inside.wait()
    holder.start()
    holder.join(0.2)
    assert events == []  # the write that runs is waited for
    leave.set()
    holder.join()
    writer.join(0.2)
    assert events == ["first write ends", "held"]
    gate.release()
    writer.join()
    assert events == ["first write ends", "held", "second write"]
    gate.close()


def test_a_writer_that_waits_is_freed_by_the_stop(gate: Gate) -> None:
    gate.hold()
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped), gate.passed(stop, obey=True):
        pytest.fail("the gate is shut")
    with gate.passed(stop, obey=False):
        pass  # the naive contract does not look


def test_a_place_is_what_was_switched_to(gate: Gate) -> None:
    with pytest.raises(RefusedError):
        gate.place()
    for place in (PLACE, PointsPlace("s", "c", "k", "f")):
        gate.switch(place)
        assert gate.place() == place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "workload"
    folders.write(
        made, Description("none", 1, 4, (Moved("t'1", PLACE, "one"), Moved("t%2", PLACE)))
    )
    return made


def test_the_hook_programs_do_it_for_the_tenant_that_is_moved(folder: Path) -> None:
    first, second = (folders.gate_of(folder, one) for one in ("t'1", "t%2"))
    environment = {
        "AETERNA_MOVE_TENANT": "t%2",
        "AETERNA_MOVE_COLLECTION": "there",
        "AETERNA_MOVE_SHARD_KEY": "",
    }
    first.switch(PLACE)
    act("hold", folder, environment)
    act("switch", folder, environment)
    assert second.place() == PointsPlace("", "there")
    assert first.place() == PLACE
    stop = threading.Event()
    with first.passed(stop, obey=True):
        pass
    stop.set()
    with pytest.raises(Stopped), second.passed(stop, obey=True):
        pytest.fail("the gate is shut")
    act("release", folder, environment)
    with second.passed(stop, obey=True):
        pass
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("action", "environment"),
    [
        ("hold", {}),
        ("hold", {"AETERNA_MOVE_TENANT": "nobody"}),
        ("switch", {"AETERNA_MOVE_TENANT": "t'1"}),
        ("explode", {"AETERNA_MOVE_TENANT": "t'1"}),
    ],
)
def test_a_hook_that_cannot_know_what_is_meant_is_wrong_usage(
    folder: Path, action: str, environment: Mapping[str, str]
) -> None:
    with pytest.raises(UsageError):
        act(action, folder, environment)


def test_the_program_s_exit_code_says_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["hold"]) == 2
    assert main(["hold", str(folder / "nowhere")]) == 2
    monkeypatch.setenv("AETERNA_MOVE_TENANT", "t'1")
    assert main(["release", str(folder)]) == 0


def test_a_folder_is_used_once(folder: Path) -> None:
    with pytest.raises(RefusedError) as raised:
        folders.write(folder, Description("none", 1, 4, ()))
    assert raised.value.code == "workload_folder_used"
    read = folders.read(folder)
    assert read.tenants[0] == Moved("t'1", PLACE, "one")
