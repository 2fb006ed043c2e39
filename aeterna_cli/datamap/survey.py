"""What a pass over all keys or all objects saw, in bounded memory and without anybody's data.

Names are told by their form: a tenant's value, a number, an identifier, an address and every word
that no rule knows are placeholders, because such a word may be a person's name. The first part of a
name stays where it is a plain word: somebody has to be able to write a rule.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from unicodedata import category

from aeterna_cli.datamap.known import KnownTenants
from aeterna_cli.datamap.patterns import Pattern
from aeterna_cli.stores.base.tenant_counts import Judged

MOST_FORMS = 100
OTHER = "(other forms)"
LONGEST = 200
_SHAPES = (
    (re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "{uuid}"),
    (re.compile(r"[0-9a-fA-F]{16,}"), "{hex}"),
    (re.compile(r"[0-9]+"), "{number}"),
)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}")
_ENDING = re.compile(r"(\.[a-z][a-z0-9]{0,7}){1,2}$")
_WORD = re.compile(r"[A-Za-z][A-Za-z_]*")
_HOLE = re.compile(r"\{[a-z_]+\*?\}")


class Mask:
    """Names as forms. ``separator`` parts them; the words of ``patterns`` are known."""

    def __init__(
        self, separator: str, known: KnownTenants, patterns: Iterable[Pattern] = ()
    ) -> None:
        self._separator, self._known = separator, known
        self._words = {word for one in patterns for word in _WORD.findall(_HOLE.sub("", one.text))}

    def form(self, name: str) -> str:
        """``sess:{text}:{number}``."""
        parts = name.split(self._separator)
        last = len(parts) - 1
        found = [self._part(part, index == 0, index == last) for index, part in enumerate(parts)]
        text = self._separator.join(found)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"

    def _part(self, part: str, first: bool, last: bool) -> str:
        if not part or part in self._words:
            return part
        if self._known.named(part):
            return "{tenant}"
        for pattern, word in _SHAPES:
            if pattern.fullmatch(part):
                return word
        ending = _ENDING.search(part) if last and self._separator == "/" else None
        stem = part[: ending.start()] if ending is not None else part
        shown = stem if first and _PLAIN.fullmatch(stem) else "{text}"
        if first and self._known.named(stem):
            shown = "{tenant}"
        return shown + (ending[0] if ending is not None else "")


def _printable(name: str) -> str:
    """The beginning of a name; what would steer a terminal is escaped."""
    return "".join(
        one.encode("unicode_escape").decode() if category(one)[0] == "C" else one
        for one in name[:LONGEST]
    )


@dataclass
class Seen:
    """How many things of one form; ``example`` is the beginning of one name, fit to be printed."""

    example: str
    count: int = 0

    def add(self) -> None:
        self.count += 1


@dataclass
class Survey:
    """``unclassified`` by form; ``doubtful`` by holder (``unknown``, ``ambiguous``, ``unreadable``)
    and rule; ``misfits`` by rule and the type that was found instead of the rule's."""

    mask: Mask
    total: int = 0
    unclassified: dict[str, Seen] = field(default_factory=dict)
    doubtful: dict[tuple[str, str], Seen] = field(default_factory=dict)
    misfits: dict[tuple[str, str], Seen] = field(default_factory=dict)

    def add(self, name: str, judged: Judged) -> None:
        self.total += 1
        if judged.holder == "unclassified":
            form = self.mask.form(name)
            if form not in self.unclassified and len(self.unclassified) >= MOST_FORMS:
                form = OTHER
            self.unclassified.setdefault(form, Seen(_printable(name))).add()
        elif judged.holder in ("unknown", "ambiguous", "unreadable"):
            place = (judged.holder, judged.rule_name)
            self.doubtful.setdefault(place, Seen(_printable(name))).add()

    def misfit(self, name: str, rule: str, found: str) -> None:
        self.misfits.setdefault((rule, found), Seen(_printable(name))).add()

    @property
    def classified(self) -> int:
        return self.total - sum(one.count for one in self.unclassified.values())


def hidden(form: str, name: str) -> str:
    """One name with everything that its form does not say as ``*``: its length is all that it
    tells. Where the form was cut, or is several names', the form itself."""
    pieces = re.split(r"\{(?:tenant|uuid|hex|number|text)\}", form)
    expression = "(.+)".join(map(re.escape, pieces))
    found = re.fullmatch(expression, name, re.DOTALL)
    if found is None:
        return form
    covered = ["*" * min(len(group), 12) for group in found.groups()]
    return "".join(
        piece + (covered[index] if index < len(covered) else "")
        for index, piece in enumerate(pieces)
    )
