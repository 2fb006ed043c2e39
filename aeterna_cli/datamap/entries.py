"""Reading one entry of a rules file: every field has a type, and no field is unknown."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from aeterna_cli.datamap.patterns import Pattern
from aeterna_cli.datamap.rules import Entry, invalid

T = TypeVar("T")


class Fields:
    """The fields of one entry. ``done`` must follow: what nobody asked for is a misspelt rule."""

    def __init__(self, kind: str, entry: Entry) -> None:
        self._left: dict[str, Any] = dict(entry)
        self._what = f"with [[{kind}]] {entry['name']!r}"
        self.name = str(self._left.pop("name"))

    def text(self, field: str, default: str | None = None) -> str:
        return self._take(field, default, str)

    def yes(self, field: str) -> bool:
        return self._take(field, False, bool)

    def number(self, field: str, default: int) -> int:
        return self._take(field, default, int)

    def one_of(self, field: str, choices: tuple[str, ...], default: str | None = None) -> str:
        found = self.text(field, default)
        if found not in choices:
            raise self.wrong(f"{field} is {found!r}; known are {', '.join(choices)}")
        return found

    def texts(self, field: str) -> tuple[str, ...]:
        found = self._take(field, [], list)
        if not all(isinstance(one, str) and one for one in found):
            raise self.wrong(f"{field} must be an array of texts")
        return tuple(found)

    def pattern(self, field: str, separator: str) -> Pattern:
        text = self.text(field)
        return self.parsed(field, lambda: Pattern.parse(text, separator))

    def parsed(self, field: str, parse: Callable[[], T]) -> T:
        """A field whose parser raises ``ValueError`` with a reason."""
        try:
            return parse()
        except ValueError as error:
            raise self.wrong(f"{field} {error}") from error

    def has(self, field: str) -> bool:
        return field in self._left

    def done(self) -> None:
        if self._left:
            raise self.wrong(f"unknown fields: {', '.join(sorted(self._left))}")

    def wrong(self, reason: str) -> Exception:
        return invalid(self._what, f"is wrong: {reason}")

    def _take(self, field: str, default: T | None, kind: type[T]) -> T:
        if field not in self._left:
            if default is None:
                raise self.wrong(f"{field} is missing")
            return default
        found = self._left.pop(field)
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise self.wrong(f"{field} must be of type {kind.__name__}")
        return found


def by_name(rules: Mapping[str, Any], kind: str) -> tuple[Entry, ...]:
    return tuple(rules.get(kind, ()))
