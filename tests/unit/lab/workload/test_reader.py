"""What a reader may see while others write, against a model that tries every order."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.lab.workload.population import Glimpse
from aeterna_cli.lab.workload.reader import fault_of


@dataclass(frozen=True)
class Past:
    """Kinds of the versions 1.. of one point; ``certain`` of them acknowledged before the read."""

    deletes: tuple[bool, ...]
    certain: int

    def glimpse(self, started: int, certain: int) -> Glimpse:
        deleted = max((v for v in range(1, started + 1) if self.deletes[v - 1]), default=0)
        return Glimpse(0, started, certain, deleted)


@st.composite
def pasts(draw: st.DrawFn) -> Past:
    deletes = draw(st.lists(st.booleans(), min_size=1, max_size=8))
    plain = [kind and at > 0 and not deletes[at - 1] for at, kind in enumerate(deletes)]
    return Past(tuple(plain), draw(st.integers(1, len(plain))))


def seen(past: Past, started_before: int, state: int) -> tuple[str, str] | None:
    """A read that found the point as it is after version ``state``."""
    before = past.glimpse(started_before, past.certain)
    after = past.glimpse(len(past.deletes), past.certain)
    point = None if past.deletes[state - 1] else {"payload": {"version": state}}
    return fault_of(before, after, point)


@given(pasts(), st.data())
def test_every_state_from_the_acknowledged_to_the_newest_is_fine(
    past: Past, data: st.DataObject
) -> None:
    started = data.draw(st.integers(past.certain, len(past.deletes)))
    state = data.draw(st.integers(past.certain, len(past.deletes)))
    assert seen(past, started, state) is None


@given(pasts(), st.data())
def test_every_older_state_is_told_unless_it_cannot_be_told_apart(
    past: Past, data: st.DataObject
) -> None:
    state = data.draw(st.integers(1, past.certain))
    if state == past.certain:
        return
    found = seen(past, past.certain, state)
    if past.deletes[state - 1]:
        # absent: fine where a delete is among the states that the read may have seen
        possible = any(past.deletes[past.certain - 1 :])
        assert (found is None) == possible
        assert found is None or found[0] == "lost"
    else:
        sort = "resurrected" if past.deletes[past.certain - 1] else "stale"
        assert found is not None
        assert found[0] == sort


def test_a_version_that_nobody_has_begun_is_wrong() -> None:
    state = Glimpse(0, 3, 3, 0)
    for version in (4, None, "3"):
        found = fault_of(state, state, {"payload": {"version": version}})
        assert found is not None
        assert found[0] == "wrong"
