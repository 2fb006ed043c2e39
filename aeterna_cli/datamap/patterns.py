"""Names with a tenant somewhere in them, as patterns: ``emb:{tenant}:{model}:{hash}``.

``{tenant}`` stands for a tenant's value and is found by looking known values up, never by cutting a
name at its separators: a value may hold separators, quotes, ``*`` or ``%`` itself. Every other
``{word}`` stands for text without a separator (any text where names have none), ``{word*}`` for any
text; neither is ever empty.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from aeterna_cli.datamap.known import KnownTenants, each_once, encoded

TENANT = "{tenant}"
LONGEST = 1024  # bytes
_WORD = re.compile(r"\{([a-z_]+)(\*?)\}")


@dataclass(frozen=True)
class Fit:
    """A name that a pattern fits. ``tenants`` are the ids that may stand in it: several where it
    can be read in several ways, none where what stands there names nobody that is known."""

    tenants: tuple[str, ...]


@dataclass(frozen=True)
class Pattern:
    """One pattern. ``text`` is what the rules file says."""

    text: str
    #: the text before the first placeholder
    head: bytes
    #: how much of it is literal: of two patterns that fit, the one with more knows better
    weight: int
    _pieces: tuple["re.Pattern[bytes]", ...] = field(repr=False)
    _anyone: "re.Pattern[bytes]" = field(repr=False)
    #: the literal text that follows each tenant
    _leads: tuple[bytes, ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str, separator: str) -> "Pattern":
        """``ValueError`` says what is wrong with it."""
        if not text or _WORD.sub("", text).count("{") or _WORD.sub("", text).count("}"):
            raise ValueError("has a broken placeholder" if text else "is empty")
        if re.search(r"\}\{", text):
            raise ValueError("has two placeholders without anything between them")
        halves = text.split(TENANT)
        open_end = "*}" if separator else "}"  # without a separator nothing ends a part
        if any(half.count(open_end) > 1 for half in halves):
            raise ValueError("has two open placeholders side by side: where one ends is a guess")
        anyone = _expression(text.replace(TENANT, "{anyone*}"), separator)
        literals = tuple(_WORD.split(text)[::3])
        return cls(
            text=text,
            head=encoded(literals[0]),
            weight=sum(len(part.strip(separator)) for part in literals),
            _pieces=tuple(_expression(half, separator) for half in halves),
            _anyone=anyone,
            _leads=tuple(encoded(_WORD.split(half)[0]) for half in halves[1:]),
        )

    @property
    def has_tenant(self) -> bool:
        return len(self._pieces) > 1

    def fit(self, name: bytes, known: KnownTenants) -> Fit | None:
        """How this pattern fits; None where it does not.

        A pattern of nothing but a tenant and separators fits known tenants only: it would fit
        everything otherwise. So does every pattern where the name is longer than ``LONGEST``: to
        cut such a name in every possible way takes seconds, and it may come from anybody.
        """
        if not name.startswith(self.head):
            return None
        if not self.has_tenant:
            return Fit(()) if self._pieces[0].fullmatch(name) else None
        found = each_once(who for owners in self._readings(name, known) for who in owners)
        if found:
            return Fit(found)
        if self.weight and len(name) <= LONGEST and self._anyone.fullmatch(name):
            return Fit(())
        return None

    def make(self, values: Mapping[str, str]) -> str:
        """A name of this pattern; ``KeyError`` for a placeholder without a value."""
        return _WORD.sub(lambda word: values[word[1]], self.text)

    def generic(self) -> str:
        """The pattern for people, open placeholders as plain ones."""
        return self.text.replace("*}", "}")

    def _readings(self, name: bytes, known: KnownTenants) -> Iterator[tuple[str, ...]]:
        """Each way to read the name with known tenants in every place, all being the same one."""
        first, *others = self._pieces
        for start in self._starts(name, known):
            if first.fullmatch(name, 0, start):
                yield from self._after(name, start, others, known, None)

    def _starts(self, name: bytes, known: KnownTenants) -> Iterable[int]:
        """Where the first tenant may begin; near the end where it is the last free part."""
        first, *others = self._pieces
        if not first.groups:
            return [len(self.head)]
        if len(others) == 1 and not others[0].groups:
            return range(max(0, len(name) - len(self._leads[0]) - known.longest), len(name))
        return range(len(name))

    def _after(
        self,
        name: bytes,
        start: int,
        pieces: list["re.Pattern[bytes]"],
        known: KnownTenants,
        same: frozenset[str] | None,
    ) -> Iterator[tuple[str, ...]]:
        piece, *others = pieces
        last = min(len(name), start + known.longest)
        for end in _ends(name, start + 1, last, piece, self._leads[-len(pieces)]):
            owners = frozenset(known.named(name[start:end]))
            owners = owners if same is None else owners & same
            if not owners:
                continue
            if not others:
                if piece.fullmatch(name, end):
                    yield tuple(owners)
                continue
            lead = end + len(self._leads[-len(pieces)])
            for stop in range(lead, len(name)) if piece.groups else [lead]:
                if piece.fullmatch(name, end, stop):
                    yield from self._after(name, stop, others, known, owners)


def _ends(
    name: bytes, first: int, last: int, piece: "re.Pattern[bytes]", lead: bytes
) -> Iterator[int]:
    """Where a tenant's value may end: before the text that follows it, or with the name."""
    if not lead:
        if not piece.groups and first <= len(name) <= last:
            yield len(name)
        elif piece.groups:
            yield from range(first, last + 1)
        return
    end = name.find(lead, first)
    while first <= end <= last:
        yield end
        end = name.find(lead, end + 1)


def _expression(text: str, separator: str) -> "re.Pattern[bytes]":
    """A group where there is a placeholder, so that ``groups`` tells whether the length is free."""
    parts = []
    for index, part in enumerate(re.split(r"(\{[a-z_]+\*?\})", text)):
        if index % 2 == 0:
            parts.append(re.escape(encoded(part)))
        elif part.endswith("*}"):
            parts.append(b"(.+)")
        elif separator:
            parts.append(b"([^%b]+)" % re.escape(encoded(separator)))
        else:
            parts.append(b"(.+)")
    return re.compile(b"".join(parts), re.DOTALL)
