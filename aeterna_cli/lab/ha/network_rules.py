"""What a highly-available lab's network does to its traffic: the rules, and what they mean for one
connection. Pure: no socket, no clock. Rules come from a socket or a file and are hostile input.
"""

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aeterna_cli.errors import FailedError, UsageError
from aeterna_cli.lab.state import write_file

OUTSIDE = "outside"  # every client that is no node of the lab
FORMAT = 1
MOST_RULES = 64
_HOW = {
    "cut": ("hang", "reset"),
    "cut-outside": ("hang", "reset"),
    "partition": ("hang", "reset"),
    "refuse": ("http", "reset"),
}


@dataclass(frozen=True)
class Rule:
    """One fault of the network.

    ``cut``          no byte to or from ``node``, whoever the other side is
    ``cut-outside``  no byte between ``node`` and clients that are no node of the lab
    ``partition``    no byte between nodes of different ``groups``; others are left alone
    ``slow``         traffic of ``node`` waits ``delay_ms`` each way and shares ``bytes_per_second``
    ``refuse``       requests to ``node`` are answered with 503 SlowDown (``http``), or reset
    ``truncate``     a connection to ``node`` ends after so many more bytes ``upload`` (to it) or
                     ``download`` (from it), headers included

    ``how``: ``hang`` loses nothing, as TCP does once the network is back; ``reset`` breaks.
    """

    kind: str
    node: str = ""
    how: str = ""
    groups: tuple[tuple[str, ...], ...] = ()
    delay_ms: float = 0.0
    bytes_per_second: int = 0  # 0: no limit
    upload: int | None = None
    download: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What happens to one connection now; the default is nothing."""

    hang: bool = False
    reset: bool = False
    refuse: bool = False
    delay: float = 0.0  # seconds, each way
    slow: tuple[tuple[str, int], ...] = ()  # rule ids and bytes per second that are shared
    truncate: tuple[tuple[str, str, int], ...] = ()  # rule ids, directions, bytes


FREE = Verdict()


def parse(document: Any, nodes: Collection[str]) -> Rule:
    """The rule that is written there. ``UsageError('network_rule')`` says what is wrong with it."""
    if not isinstance(document, dict):
        raise _wrong("a rule is an object")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise _wrong(f"kind is one of {', '.join(_FIELDS)}")
    unknown = document.keys() - {"kind", *_FIELDS[kind]}
    if unknown:
        raise _wrong(f"{kind} has no {sorted(map(str, unknown))[0][:40]!r}")
    rule = Rule(
        kind,
        node="" if kind == "partition" else _node(document.get("node"), nodes),
        how=_how(kind, document.get("how")),
        groups=_groups(document.get("groups"), nodes) if kind == "partition" else (),
        delay_ms=_number(document.get("delay_ms", 0), "delay_ms", 60_000),
        bytes_per_second=int(_number(document.get("bytes_per_second", 0), "bytes_per_second")),
        upload=_count(document.get("upload"), "upload"),
        download=_count(document.get("download"), "download"),
    )
    if kind == "slow" and not (rule.delay_ms or rule.bytes_per_second):
        raise _wrong("slow wants delay_ms or bytes_per_second")
    if kind == "truncate" and rule.upload is None and rule.download is None:
        raise _wrong("truncate wants upload or download")
    return rule


_FIELDS: dict[str, tuple[str, ...]] = {
    "cut": ("node", "how"),
    "cut-outside": ("node", "how"),
    "partition": ("groups", "how"),
    "slow": ("node", "delay_ms", "bytes_per_second"),
    "refuse": ("node", "how"),
    "truncate": ("node", "upload", "download"),
}


def _wrong(message: str) -> UsageError:
    return UsageError("network_rule", f"this is no rule of the lab's network: {message}")


def _node(value: Any, nodes: Collection[str]) -> str:
    if not isinstance(value, str) or value not in nodes:
        raise _wrong(f"node is one of {', '.join(sorted(nodes))}")
    return value


def _how(kind: str, value: Any) -> str:
    allowed = _HOW.get(kind, ("",))
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise _wrong(f"how is one of {', '.join(allowed)}")
    return str(value)


def _groups(value: Any, nodes: Collection[str]) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list) or len(value) < 2 or not all(isinstance(g, list) for g in value):
        raise _wrong("groups is a list of two lists of nodes or more")
    groups = tuple(tuple(_node(node, {*nodes, OUTSIDE}) for node in group) for group in value)
    everybody = [node for group in groups for node in group]
    if not all(groups) or len(set(everybody)) != len(everybody):
        raise _wrong("no group is empty and no node is in two")
    return groups


def _number(value: Any, name: str, most: float = 1e12) -> float:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or not 0 <= value <= most:
        raise _wrong(f"{name} is a number from 0 to {most:.0f}")
    return float(value)


def _count(value: Any, name: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise _wrong(f"{name} is a number of bytes")
    return value


class Rules:
    """The rules in force, on disk before they are in force, so that a restart keeps them."""

    def __init__(self, path: Path, nodes: Iterable[str]) -> None:
        self._path = path
        self.nodes = frozenset(nodes)
        self._next, self.active = self._load()

    def _load(self) -> tuple[int, dict[str, Rule]]:
        try:
            tree = json.loads(self._path.read_text(encoding="utf-8"))
            if tree["format"] != FORMAT:
                raise ValueError(tree["format"])
            rules = {str(name): parse(rule, self.nodes) for name, rule in tree["rules"].items()}
            return int(tree["next"]), rules
        except FileNotFoundError:
            return 1, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            raise FailedError(
                "network_rules_damaged",
                f"the rules of the lab's network in {self._path} cannot be read",
                hint="without them nobody knows what was cut; delete the file to heal everything",
            ) from error

    def _save(self, number: int, rules: dict[str, Rule]) -> None:
        tree = {
            "format": FORMAT,
            "next": number,
            "rules": {name: document(rule) for name, rule in rules.items()},
        }
        write_file(self._path, json.dumps(tree))
        self._next, self.active = number, rules

    def add(self, rule: Rule) -> str:
        """The rule is in force when this returns its id. An id is never used again."""
        if len(self.active) >= MOST_RULES:
            raise UsageError("network_rules_full", f"more than {MOST_RULES} rules at a time")
        name = str(self._next)
        self._save(self._next + 1, {**self.active, name: rule})
        return name

    def remove(self, name: str | None) -> list[str]:
        """The ids that are in force no more: this one, or all. Repeating it changes nothing."""
        gone = [one for one in self.active if name is None or one == name]
        if gone:
            kept = {one: rule for one, rule in self.active.items() if one not in gone}
            self._save(self._next, kept)
        return gone

    @property
    def ask_clients(self) -> bool:
        """Whether it matters now where a connection comes from."""
        return bool(self.active)

    def verdict(self, client: str, server: str) -> Verdict:
        """For a connection from ``client`` (a node or ``OUTSIDE``) to ``server``. A node reaches
        itself whatever its network does."""
        if not self.active:
            return FREE
        hang = reset = refuse = False
        delay, slow, truncate = 0.0, [], []
        for name, rule in self.active.items():
            if rule.kind in ("cut", "cut-outside", "partition"):
                if _separates(rule, client, server):
                    hang, reset = hang or rule.how == "hang", reset or rule.how == "reset"
            elif rule.kind == "slow" and client != server and rule.node in (client, server):
                delay += rule.delay_ms / 1000
                if rule.bytes_per_second:
                    slow.append((name, rule.bytes_per_second))
            elif rule.kind == "refuse" and rule.node == server:
                reset, refuse = reset or rule.how == "reset", refuse or rule.how == "http"
            elif rule.kind == "truncate" and rule.node == server:
                for direction, count in (("upload", rule.upload), ("download", rule.download)):
                    if count is not None:
                        truncate.append((name, direction, count))
        return Verdict(hang and not reset, reset, refuse, delay, tuple(slow), tuple(truncate))


def _separates(rule: Rule, client: str, server: str) -> bool:
    if client == server:
        return False
    if rule.kind == "cut":
        return rule.node in (client, server)
    if rule.kind == "cut-outside":
        return rule.node == server and client == OUTSIDE
    sides = [[index for index, g in enumerate(rule.groups) if end in g] for end in (client, server)]
    return bool(sides[0] and sides[1] and sides[0] != sides[1])


def document(rule: Rule) -> dict[str, Any]:
    """The rule as ``parse`` reads it."""
    values = asdict(rule)
    return {"kind": rule.kind, **{name: values[name] for name in _FIELDS[rule.kind]}}
