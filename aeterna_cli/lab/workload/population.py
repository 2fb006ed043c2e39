"""The points of one tenant as the application knows them: who is there, who is being written.

Operations on one point never overlap: ``take`` hands a point to one thread until ``release``.
Everything is guarded by one lock that is held for microseconds.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from aeterna_cli.lab.workload.model import Kind, Operation

#: How often what was touched last is touched again, as a share: moves break there.
RECENT_SHARE = 0.3
_RECENT = 64


@dataclass
class _Known:
    """``started`` is the newest version that may be on its way, ``certain`` the newest that was
    acknowledged, ``deleted`` the newest version that is a delete (0 for none)."""

    started: int = 0
    certain: int = 0
    deleted: int = 0
    embedded: int = 0
    alive: bool = False


@dataclass(frozen=True)
class Glimpse:
    """What a reader knows of a point at one moment."""

    number: int
    started: int
    certain: int
    deleted: int


@dataclass(frozen=True)
class Work:
    """Operations to do on one point, in this order."""

    number: int
    kinds: tuple[Kind, ...]


#: Sorts of work and their weights. Deletes and inserts balance: the tenant keeps its size.
_MIX: tuple[tuple[tuple[Kind, ...], int], ...] = (
    (("update",), 40),
    (("payload",), 16),
    (("insert",), 12),
    (("delete",), 14),
    (("delete", "insert"), 10),
    (("update", "update"), 8),
)
_CHOICES = [kinds for kinds, _ in _MIX]
_WEIGHTS = [weight for _, weight in _MIX]


class _Bag:
    """A set of numbers that gives a random one in constant time."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self._at: dict[int, int] = {}

    def add(self, number: int) -> None:
        if number not in self._at:
            self._at[number] = len(self.items)
            self.items.append(number)

    def discard(self, number: int) -> None:
        at = self._at.pop(number, None)
        if at is None:
            return
        last = self.items.pop()
        if last != number:
            self.items[at] = last
            self._at[last] = at


@dataclass
class Population:
    """Shared by a tenant's threads."""

    _known: list[_Known] = field(default_factory=list)
    _alive: _Bag = field(default_factory=_Bag)
    _gone: _Bag = field(default_factory=_Bag)
    _busy: set[int] = field(default_factory=set)
    _aside: set[int] = field(default_factory=set)
    _recent: deque[int] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._known)

    def prepared(self, count: int) -> None:
        """So many more points were inserted and acknowledged as version 1."""
        with self._lock:
            for number in range(len(self._known), len(self._known) + count):
                self._known.append(_Known(1, 1, 0, 1, True))
                self._alive.add(number)

    @contextmanager
    def taken(self, random: Random) -> Iterator[Work]:
        """Work on a point that no other thread works on meanwhile."""
        kinds = random.choices(_CHOICES, _WEIGHTS)[0]
        with self._lock:
            number = self._free(random, alive=kinds[0] != "insert")
            if number is None:
                number, kinds = len(self._known), ("insert",)
                self._known.append(_Known())
            self._busy.add(number)
        try:
            yield Work(number, kinds)
        finally:
            with self._lock:
                self._busy.discard(number)
                self._recent.append(number)

    def _free(self, random: Random, *, alive: bool) -> int | None:
        """A point that is there (or is not) and that nobody works on; None for a new one."""
        if self._recent and random.random() < RECENT_SHARE:
            number = random.choice(self._recent)
            if self._known[number].alive == alive and self._may_take(number):
                return number
        if not alive and random.random() < 0.5:
            return None
        items = (self._alive if alive else self._gone).items
        for _ in range(20 if items else 0):
            number = random.choice(items)
            if self._may_take(number):
                return number
        return None

    def _may_take(self, number: int) -> bool:
        return number not in self._busy and number not in self._aside

    def intend(self, number: int, kind: Kind, updated_at: int) -> Operation:
        """The next operation on a point that this thread has taken."""
        with self._lock:
            known = self._known[number]
            version = known.started + 1
            embedded = version if kind in ("insert", "update") else known.embedded
            known.started = version
            if kind == "delete":
                known.deleted = version
            return Operation(number, version, kind, embedded, updated_at)

    def acknowledged(self, one: Operation) -> None:
        with self._lock:
            known = self._known[one.number]
            known.certain, known.embedded, known.alive = one.version, one.embedded, one.alive
            (self._alive if one.alive else self._gone).add(one.number)
            (self._gone if one.alive else self._alive).discard(one.number)

    def set_aside(self, number: int) -> None:
        """Nobody writes this point again: a failed attempt may still reach a server later, and
        what it then did to a newer version would be no mover's fault."""
        with self._lock:
            self._aside.add(number)

    def glimpse(self, random: Random) -> Glimpse | None:
        """A point that was acknowledged once; half of them were touched lately. None if empty."""
        with self._lock:
            if not self._known:
                return None
            recent = self._recent and random.random() < 0.5
            number = random.choice(self._recent) if recent else random.randrange(len(self._known))
            known = self._known[number]
            return self._seen(number) if known.certain else None

    def look(self, number: int) -> Glimpse:
        """What is known of this point now."""
        with self._lock:
            return self._seen(number)

    def _seen(self, number: int) -> Glimpse:
        known = self._known[number]
        return Glimpse(number, known.started, known.certain, known.deleted)
