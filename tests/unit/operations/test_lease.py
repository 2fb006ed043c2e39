"""Who may work on what: exclusive, shared, void, replaced, lost."""

import json
import os
import threading
from datetime import datetime, timedelta

import pytest

from aeterna_cli.errors import AeternaError, ConflictError, RefusedError, RemoteError
from aeterna_cli.operations.lease import (
    lease_key,
    living_holders,
    this_process,
)
from tests.unit.operations.given import (
    COMPONENT,
    KEY,
    Child,
    Outage,
    Place,
    Say,
    Wait,
    away,
    document,
    lease,
    put,
    steal,
    until,
)


def test_it_is_held_until_it_is_given_back(place: Place) -> None:
    mine = lease(place)
    mine.acquire()
    mine.assert_held()
    (holder,) = living_holders(place.store, COMPONENT)
    assert (holder.operation, holder.actor, holder.shared) == ("one", "ada@host", False)
    assert holder.process == this_process()
    with pytest.raises(ConflictError) as caught:
        lease(place, "two").acquire()
    assert caught.value.code == "lease_held"
    assert caught.value.details["holder"]["operation"] == "one"
    void_at = datetime.fromisoformat(caught.value.details["void_at"])
    assert abs(void_at - datetime.fromisoformat(holder.beat) - timedelta(seconds=60)) < timedelta(
        seconds=1
    )
    assert caught.value.next_steps == ("aeterna-cli operation show one",)
    mine.release()
    mine.release()
    assert living_holders(place.store, COMPONENT) == []
    other = lease(place, "two")
    other.acquire()
    assert (mine.fence, other.fence, other.dropped) == (1, 2, ())
    other.release()


def test_those_that_share_hold_it_together_and_nobody_else(place: Place) -> None:
    first, second = lease(place, "one", shared=True), lease(place, "two", shared=True)
    first.acquire()
    second.acquire()
    with pytest.raises(ConflictError):
        lease(place, "three").acquire()
    first.release()
    with pytest.raises(ConflictError):
        lease(place, "three").acquire()
    second.release()
    alone = lease(place, "three")
    alone.acquire()
    with pytest.raises(ConflictError):
        lease(place, "four", shared=True).acquire()
    alone.release()
    assert document(place)["holders"] == []


@pytest.mark.parametrize("shared", [False, True])
def test_the_same_operation_alive_elsewhere_is_not_replaced(place: Place, shared: bool) -> None:
    put(place, operation="one", shared=shared)
    with pytest.raises(ConflictError) as caught:
        lease(place, "one", shared=shared).acquire()
    assert caught.value.code == "lease_held"
    assert len(document(place)["holders"]) == 1


def test_this_very_process_replaces_what_it_could_not_give_back(place: Place) -> None:
    first = lease(place)
    first.acquire()
    second = lease(place)
    second.acquire()
    assert [one["token"] for one in document(place)["holders"]] != []
    assert (second.fence, second.dropped) == (2, ())
    assert len(document(place)["holders"]) == 1
    first.release()
    second.assert_held()
    assert len(document(place)["holders"]) == 1
    second.release()


def test_two_processes_race_and_one_wins(place: Place) -> None:
    def race(say: Say, wait: Wait) -> None:
        wait()
        mine = lease(place, f"process {os.getpid()}")
        try:
            mine.acquire()
        except ConflictError as error:
            say(error.code)
            return
        say("won")
        wait()
        mine.release()

    children = [Child(race) for _ in range(4)]
    for child in children:
        child.go()
    assert sorted(child.line() for child in children) == ["lease_held"] * 3 + ["won"]
    assert len(living_holders(place.store, COMPONENT)) == 1
    assert [child.end() for child in children] == [0] * 4
    assert (document(place)["fence"], document(place)["holders"]) == (1, [])


def test_whoever_takes_it_between_our_look_and_our_write_has_it(place: Place) -> None:
    class Slow(Outage):
        def read(self, key: str) -> bytes:
            content = super().read(key)
            if not theirs.fence:
                theirs.acquire()
            return content

    first, theirs = lease(place, "first"), lease(place, "theirs")
    first.acquire()
    first.release()
    with pytest.raises(ConflictError) as caught:
        lease(place, "ours", store=Slow(place.folder / "repository")).acquire()
    assert caught.value.details["holder"]["operation"] == "theirs"
    theirs.assert_held()
    theirs.release()


def test_many_processes_share_and_no_one_is_forgotten(place: Place) -> None:
    def share(say: Say, wait: Wait) -> None:
        wait()
        mine = lease(place, f"process {os.getpid()}", shared=True)
        mine.acquire()
        say(str(mine.fence))
        wait()
        mine.release()

    children = [Child(share) for _ in range(4)]
    for child in children:
        child.go()
    assert sorted(child.line() for child in children) == ["1", "2", "3", "4"]
    assert len(living_holders(place.store, COMPONENT)) == 4
    assert [child.end() for child in children] == [0] * 4
    assert document(place)["holders"] == []


def test_the_heartbeat_keeps_it_longer_than_it_lives(place: Place) -> None:
    mine = lease(place, heartbeat=0.02, void=1)
    mine.acquire()
    first = document(place)["holders"][0]
    until(
        lambda: (
            datetime.fromisoformat(document(place)["holders"][0]["beat"])
            > datetime.fromisoformat(first["beat"]) + timedelta(seconds=1.2)
        )
    )
    mine.assert_held()
    after = document(place)["holders"][0]
    assert {**after, "beat": ""} == {**first, "beat": ""}
    assert document(place)["fence"] == mine.fence == 1
    mine.release()


def test_a_heartbeat_that_fails_is_tried_again_until_it_is_too_late(place: Place) -> None:
    failed = threading.Event()

    def once(key: str) -> None:
        failed.set()
        away(key)

    mine = lease(place, heartbeat=0.02, void=1)
    mine.acquire()
    place.store.before = once
    assert failed.wait(10)
    mine.assert_held()

    def lost() -> bool:
        try:
            mine.assert_held()
        except ConflictError as error:
            return error.code == "lease_lost"
        return False

    until(lost)
    place.store.before = lambda key: None
    until(lambda: not lost())  # nobody took it meanwhile
    mine.release()
    assert document(place)["holders"] == []


def test_who_took_it_is_noticed_at_the_next_beat(place: Place) -> None:
    mine = lease(place, heartbeat=0.02)
    mine.acquire()
    stolen = steal(place)

    def lost() -> bool:
        try:
            mine.assert_held()
        except ConflictError as error:
            return "somebody else took it" in error.message
        return False

    until(lost)
    mine.release()
    assert document(place) == stolen


def test_a_lost_conditional_write_is_tried_again(place: Place) -> None:
    left = [3]

    def racer(_key: str) -> None:
        if left[0]:
            left[0] -= 1
            raise ConflictError("object_changed", "somebody was faster")

    place.store.before = racer
    mine = lease(place)
    mine.acquire()
    assert left == [0]
    mine.release()


def test_one_that_keeps_changing_is_said_to(place: Place) -> None:
    def racer(_key: str) -> None:
        raise ConflictError("object_changed", "somebody was faster")

    place.store.before = racer
    with pytest.raises(ConflictError) as caught:
        lease(place).acquire()
    assert caught.value.code == "lease_contended"


GOOD = {"schema": "aeterna.lease/1", "component": COMPONENT, "fence": 1, "holders": []}
HOLDER = {
    "operation": "o",
    "actor": "a",
    "token": "t",
    "shared": False,
    "since": "",
    "beat": "never",
    "process": "",
}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        json.dumps(GOOD | {"holders": [{"operation": "half"}]}).encode(),
        json.dumps(GOOD | {"holders": [HOLDER]}).encode(),
        json.dumps(GOOD | {"schema": "aeterna.lease/2"}).encode(),
        json.dumps(GOOD | {"fence": "many"}).encode(),
    ],
)
def test_a_damaged_lease_is_never_overwritten(place: Place, body: bytes) -> None:
    place.store.create(KEY, body)
    for use in (lease(place).acquire, lambda: living_holders(place.store, COMPONENT)):
        with pytest.raises(RemoteError) as caught:
            use()
        assert caught.value.code == "lease_damaged"
    assert place.store.read(KEY) == body


def test_a_repository_that_is_not_there_is_no_free_lease(place: Place) -> None:
    place.store.before = lambda key: None
    (place.folder / "repository").rename(place.folder / "unmounted")
    with pytest.raises(AeternaError) as caught:
        lease(place).acquire()
    assert caught.value.code == "repository_directory_missing"


def test_a_refusal_is_not_taken_for_a_missing_lease(place: Place) -> None:
    class Denied(Outage):
        def read(self, key: str) -> bytes:
            raise RefusedError("repository_not_writable", key)

    put(place)
    with pytest.raises(RefusedError) as caught:
        living_holders(Denied(place.folder / "repository"), COMPONENT)
    assert caught.value.code == "repository_not_writable"


def test_components_of_any_name_have_a_key_of_their_own() -> None:
    assert lease_key("backups") == "leases/backups.json"
    names = ["tenant:a/b", "tenant:a_b", "Größe", "a=2Fb", "a/b", "."]
    keys = {lease_key(name) for name in names}
    assert len(keys) == len(names)
    assert lease_key("a/b") == "leases/a=2Fb.json"
