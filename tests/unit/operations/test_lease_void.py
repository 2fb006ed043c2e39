"""When a holder counts as gone: by time on the store's clock, or at once by its dead process."""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aeterna_cli.errors import ConflictError
from aeterna_cli.operations import lease as module
from aeterna_cli.operations.lease import (
    living_holders,
    this_process,
)
from tests.unit.operations.given import (
    COMPONENT,
    Child,
    Outage,
    Place,
    Say,
    Wait,
    document,
    lease,
    put,
    until,
)


def test_a_process_that_was_killed_here_is_void_at_once(place: Place) -> None:
    def hold(say: Say, wait: Wait) -> None:
        lease(place, "killed").acquire()
        say("held")
        wait()

    child = Child(hold)
    assert child.line() == "held"
    with pytest.raises(ConflictError):
        lease(place, "one").acquire()
    child.kill()
    mine = lease(place, "one")
    mine.acquire()
    assert (mine.dropped, mine.fence) == (("killed",), 2)
    assert [one["operation"] for one in document(place)["holders"]] == ["one"]
    mine.release()


def test_a_zombie_is_dead(place: Place) -> None:
    """Killed, and its parent has not looked yet: the pid is still there."""

    def hold(say: Say, _wait: Wait) -> None:
        lease(place, "killed").acquire()
        say("held")

    child = Child(hold)
    child.line()
    until(lambda: living_holders(place.store, COMPONENT) == [])
    assert Path(f"/proc/{child.pid}").exists()
    child.end()


def test_a_process_is_told_by_when_it_started() -> None:
    """Field 22 of /proc/<pid>/stat, ticks since boot: another process with our pid has another."""
    child = Child(lambda say, _wait: say(this_process()))
    boot, space, pid, start = child.line().split("/")
    assert child.end() == 0
    assert (boot, space) == tuple(this_process().split("/")[:2])
    assert int(pid) == child.pid
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(start) / os.sysconf("SC_CLK_TCK")
    assert -1 < age < 60


def test_a_pid_that_is_used_again_does_not_keep_it(place: Place) -> None:
    boot, space, pid, start = this_process().split("/")
    holder = put(place, process=f"{boot}/{space}/{pid}/{int(start) - 1}")
    mine = lease(place)
    mine.acquire()
    assert mine.dropped == (holder.operation,)
    assert mine.fence == 8
    mine.release()


@pytest.mark.parametrize("changed", ["boot", "space", "nothing known", "not a pid"])
def test_a_process_that_we_cannot_see_is_not_called_dead(place: Place, changed: str) -> None:
    boot, space, pid, start = this_process().split("/")
    process = {
        "boot": f"other/{space}/{pid}/1",
        "space": f"{boot}/pid:[1]/{pid}/1",
        "nothing known": "",
        "not a pid": f"{boot}/{space}/x/{start}",
    }[changed]
    put(place, process=process)
    with pytest.raises(ConflictError):
        lease(place).acquire()


@pytest.mark.parametrize(("answer", "dead"), [(PermissionError, False), (ProcessLookupError, True)])
def test_another_users_hidden_process_is_not_called_dead(
    place: Place, monkeypatch: pytest.MonkeyPatch, answer: type[OSError], dead: bool
) -> None:
    """With hidepid, /proc shows nothing of it; only kill(2) still tells EPERM from ESRCH."""

    def kill(_pid: int, _number: int) -> None:
        raise answer

    monkeypatch.setattr(os, "kill", kill)
    boot, space, _pid, _start = this_process().split("/")
    put(place, process=f"{boot}/{space}/{2**30}/1")
    assert (living_holders(place.store, COMPONENT) == []) is dead


def test_a_process_is_shown_that_only_proc_does_not_show(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "kill", lambda _pid, _number: None)
    boot, space, _pid, _start = this_process().split("/")
    put(place, process=f"{boot}/{space}/{2**30}/1")
    assert len(living_holders(place.store, COMPONENT)) == 1


def test_where_processes_cannot_be_told_time_alone_decides(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Path", lambda name: Path(f"/nowhere{name}"))
    first = lease(place)
    first.acquire()
    assert document(place)["holders"][0]["process"] == ""
    with pytest.raises(ConflictError):
        lease(place).acquire()
    first.release()


def test_without_a_heartbeat_it_is_void_on_the_stores_clock(place: Place) -> None:
    late = (place.store.now() - timedelta(seconds=61)).isoformat()
    put(place, beat=late, operation="theirs")
    assert living_holders(place.store, COMPONENT) == []
    assert len(living_holders(place.store, COMPONENT, void=120)) == 1
    mine = lease(place)
    mine.acquire()
    assert mine.dropped == ("theirs",)
    mine.release()


def test_this_machines_clock_does_not_matter(place: Place) -> None:
    """A store whose clock is an hour behind ours: nobody is void by that."""

    class Behind(Outage):
        def now(self) -> datetime:
            return super().now() - timedelta(hours=1)

    place.store = Behind(place.folder / "repository")
    put(place)
    with pytest.raises(ConflictError):
        lease(place).acquire()


def test_void_holders_of_the_same_operation_are_replaced_but_not_dropped(place: Place) -> None:
    late = (place.store.now() - timedelta(seconds=61)).isoformat()
    put(place, beat=late, operation="one")
    mine = lease(place, "one")
    mine.acquire()
    assert mine.dropped == ()
    assert len(document(place)["holders"]) == 1
    mine.release()


def test_a_heartbeat_leaves_a_void_neighbour_for_whoever_comes_next(place: Place) -> None:
    """Else nobody would learn that its operation is dead."""

    def hold(say: Say, wait: Wait) -> None:
        lease(place, "killed", shared=True).acquire()
        say("held")
        wait()

    mine = lease(place, "one", shared=True, heartbeat=0.02)
    mine.acquire()
    child = Child(hold)
    child.line()
    child.kill()
    beat = document(place)["holders"][0]["beat"]
    until(lambda: bool(document(place)["holders"][0]["beat"] != beat))
    next_one = lease(place, "two", shared=True)
    next_one.acquire()
    assert next_one.dropped == ("killed",)
    mine.release()
    next_one.release()
