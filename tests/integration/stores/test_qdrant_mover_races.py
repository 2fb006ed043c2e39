"""Writers between the mover's read and its write: a plain copy loses points, the mover does not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aeterna_cli.errors import FailedError
from aeterna_cli.stores.base.mover import Pace, Strategy
from aeterna_cli.stores.qdrant_mover import QdrantMover
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from tests.integration.lab.qdrant_process import Server
from tests.integration.stores import moving
from tests.integration.stores.gate import Gate, gate
from tests.integration.stores.moving import SOURCE, TARGET, Application, judge

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration

POINTS = 400


@pytest.fixture(scope="module", params=["1.16.3", "1.19.0"])
def one(request: pytest.FixtureRequest) -> Iterator[Server]:
    with moving.served(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def old() -> Iterator[Server]:
    with moving.served("1.12.4") as server:
        yield server


def prepared(server: Server, points: int = POINTS) -> list[int | str]:
    """Source and target, the tenant's points (numbers and UUIDs) and another tenant's."""
    server.clean()
    for name in (SOURCE, TARGET):
        moving.collection(server, name)
    ids = [*range(points // 2), *map(moving.identifier, range(points // 2))]
    moving.fill(server, SOURCE, ids)
    for name in (SOURCE, TARGET):
        moving.fill(server, name, range(50_000, 50_100), moving.OTHER)
    return ids


@contextmanager
def application(server: Server, ids: list[int | str], **more: object) -> Iterator[Application]:
    made = Application(server, server, **more)  # type: ignore[arg-type]
    made.knows(ids)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def gated(
    server: Server, happening: Callable[[str], None], strategy: Strategy = "versions"
) -> Iterator[tuple[QdrantMover, Gate]]:
    """A mover whose every request lets something happen before it is passed on."""
    pace = Pace(page=50, scan_page=100, grace=0.01)
    with gate(server.port, before=happening) as through:
        ends = [
            QdrantEnd(through.settings(), moving.place(name), moving.TENANT, pace=pace)
            for name in (SOURCE, TARGET)
        ]
        made = QdrantMover(*ends, strategy)
        try:
            yield made, through
        finally:
            made.close()


def others(server: Server) -> object:
    return moving.content(server, TARGET, moving.TenantItems((moving.OTHER,)))


class Bursts:
    """Writes of the application between the mover's requests, in the mover's own time."""

    def __init__(self, application: Application, writes: int) -> None:
        self.application, self.writes, self.on = application, writes, True

    def __call__(self, line: str) -> None:
        if self.on and ("points?" in line or "batch" in line or "scroll" in line):
            for _ in range(self.writes):
                self.application.one()


# The trap


def test_a_plain_copy_loses_and_resurrects_points_even_with_dual_writes(one: Server) -> None:
    ids = prepared(one)
    with application(one, ids, lost_share=0.02) as app:

        def between() -> None:
            for _ in range(40):
                app.one()

        moving.naive_copy(one, one, between)
        found = judge(app, one, TARGET)
    assert found.resurrected > 0
    assert found.stale > 0


# The mover


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_under_writes_in_every_gap(one: Server, seed: int) -> None:
    ids = prepared(one)
    theirs = others(one)
    with application(one, ids, lost_share=0.1, seed=seed) as app:
        bursts = Bursts(app, 6)
        with gated(one, bursts) as (mover, _):
            copied = mover.copy(None)
            assert copied.done
            assert app.lost > 0
            first = mover.round()
            assert not first.clean
            bursts.on = False  # writers never stop for good, second writes do get lost less
            rounds = mover.rounds(6)
            compared = mover.compare()
        assert rounds[-1].clean
        assert rounds[-1].source == rounds[-1].target == len(app.versions)
        assert not judge(app, one, TARGET)
        assert compared.equal
        assert compared.source.points == len(app.versions)
    assert moving.content(one, TARGET) == moving.content(one, SOURCE)
    assert others(one) == theirs


def test_rounds_under_a_free_running_writer_converge_and_the_last_check_finds_the_rest(
    one: Server,
) -> None:
    ids = prepared(one)
    with application(one, ids, lost_share=0.02) as app:
        with moving.mover(one, one) as mover:
            with app.running():
                mover.copy(None)
                rounds = [mover.round()]
                while app.writes < 60:
                    rounds.append(mover.round())
                compared = mover.compare()
                assert compared.unexplained == 0
            delta = mover.delta(rounds[-1].started - 5)
            if not delta.equal:
                mover.rounds(5)
            assert mover.compare().equal
        assert not judge(app, one, TARGET)


def test_the_delta_mends_second_writes_that_were_lost_after_the_last_round(one: Server) -> None:
    ids = prepared(one)
    with application(one, ids) as app, moving.mover(one, one) as mover:
        mover.copy(None)
        (last,) = mover.rounds(3)
        app.lost_share = 1.0
        app.put(moving.identifier(999_999))
        for known in list(app.versions)[:5]:
            app.put(known)
        delta = mover.delta(last.started)
        assert (delta.upserted, delta.deleted) == (6, 0)
        assert delta.equal
        assert delta.looked_at < POINTS
        assert not judge(app, one, TARGET)
        app.delete(ids[-1])
        assert not mover.delta(last.started).equal  # a delete leaves no trace but the number
        assert mover.round().deleted == 1
        assert mover.delta(last.started).equal


def test_a_point_that_is_written_while_it_is_being_deleted_on_the_target_stays(
    one: Server,
) -> None:
    """The surplus point was seen at version 1; version 2 arrives before our delete does."""
    prepared(one, 40)
    moving.fill(one, TARGET, [777])
    with application(one, []) as app:
        app.highest[777] = 1

        def reborn(line: str) -> None:
            if "batch" in line and 777 not in app.versions:
                app.put(777)

        def there(line: str) -> None:
            if "batch" in line:
                seen.append(777 in moving.content(one, TARGET))

        seen: list[bool] = []
        with gated(one, reborn) as (mover, through):
            through.after = there
            mover.copy(None)
            mover.rounds(4)
        assert seen
        assert all(seen)  # not even for a moment was it gone
        assert moving.content(one, TARGET)[777][0]["version"] == 2


def test_a_writer_that_uses_no_version_is_found_out_by_the_digests(one: Server) -> None:
    prepared(one)
    with moving.mover(one, one) as mover:
        mover.copy(None)
        mover.rounds(3)
        body = {"payload": {"content": "changed"}, "points": [3, 5]}
        one.ask("POST", f"/collections/{SOURCE}/points/payload?wait=true", body)
        assert mover.round().clean
        found = mover.compare()
    assert (found.differences, found.unexplained) == (2, 2)
    assert set(found.examples) == {3, 5}
    assert not found.equal


def test_a_foreign_writer_on_the_target_keeps_rounds_from_settling(one: Server) -> None:
    prepared(one)
    with moving.mover(one, one) as mover:
        mover.copy(None)
        moving.fill(one, TARGET, [3], version=9)
        with pytest.raises(FailedError) as caught:
            mover.rounds(3)
    assert caught.value.code == "rounds_do_not_settle"
    assert caught.value.details["ahead"] == 1


# Without versions: only the mover writes the target


def test_digest_rounds_follow_an_application_that_knows_nothing(old: Server) -> None:
    ids = prepared(old)
    theirs = others(old)
    with application(old, ids, twice=False) as app:
        bursts = Bursts(app, 4)
        with gated(old, bursts, "digests") as (mover, _):
            mover.copy(None)
            assert not mover.round().clean
            assert not mover.round().clean
            bursts.on = False  # the hold
            last = mover.round()
            assert last.upserted + last.deleted > 0
            assert mover.round().clean
            assert mover.compare().equal
        assert not judge(app, old, TARGET)
    assert moving.content(old, TARGET) == moving.content(old, SOURCE)
    assert others(old) == theirs


def test_a_payload_changed_without_a_version_is_copied_by_digest(old: Server) -> None:
    prepared(old)
    with moving.mover(old, old, "digests") as mover:
        mover.copy(None)
        body = {"payload": {"content": "changed"}, "points": [3]}
        old.ask("POST", f"/collections/{SOURCE}/points/payload?wait=true", body)
        assert mover.round().upserted == 1
        assert mover.compare().equal


# Any interleaving


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    plan=st.lists(st.integers(0, 6), min_size=10, max_size=60),
    lost=st.sampled_from([0.0, 0.2, 1.0]),
    seed=st.integers(0, 1 << 16),
)
def test_whatever_happens_between_two_requests_the_fixpoint_is_the_source(
    one: Server, plan: list[int], lost: float, seed: int
) -> None:
    ids = prepared(one, 60)
    steps = iter(plan)
    with application(one, ids, lost_share=lost, seed=seed) as app:

        def some(_line: str) -> None:
            for _ in range(next(steps, 0)):
                app.one()

        with gated(one, some) as (mover, _):
            for end in (mover.source, mover.target):
                end.pace = Pace(page=7, scan_page=9, grace=0)
            mover.copy(None)
            mover.rounds(8)
        assert not judge(app, one, TARGET)
        assert moving.content(one, TARGET) == moving.content(one, SOURCE)
