"""From the bytes of a scenario file to a ``Scenario``, or to the line that is wrong.

Only what a scenario needs of YAML is read: mappings, lists, plain values. Aliases (which can make
a small file a huge tree), tags, duplicate keys and the old spellings of numbers (``12:30`` is 750,
``010`` is 8, ``no`` is false) are not.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import UsageError

if TYPE_CHECKING:
    import yaml

    from aeterna_cli.workflows.dr_drill.scenario import Scenario

LARGEST = 64 << 10  # bytes
_DEEPEST = 20
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,18}\.[0-9]{1,18}\Z")
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Parsed:
    """The tree of a file, and on which line (from 1) each of its keys and items stands."""

    tree: Any
    lines: Mapping[Path, int]
    name: str

    def line(self, path: Sequence[str | int]) -> int:
        """Of the deepest part of ``path`` that stands in the file."""
        here: Path = ()
        for part in path:
            if (*here, part) in self.lines:  # pydantic puts names of alternatives in between
                here = (*here, part)
        return self.lines.get(here, 1)

    def error(self, path: Sequence[str | int], what: str, hint: str = "") -> UsageError:
        return invalid(self.name, self.line(path), what, hint)


def invalid(name: str, line: int, what: str, hint: str = "") -> UsageError:
    return UsageError(
        "scenario_invalid",
        f"{name}, line {line}: {what}",
        hint=hint,
        next_steps=["aeterna-cli dr-drill list"],
        details={"file": name, "line": line},
    )


def closest(word: str, known: Iterable[str]) -> str:
    """``did you mean ...?``, or which keys there are."""
    keys = sorted(known)
    near = difflib.get_close_matches(word, keys, 1, 0.6)
    return f"did you mean {near[0]}?" if near else f"known keys: {', '.join(keys)}"


def parse(data: bytes, name: str) -> Parsed:
    """The tree; ``UsageError('scenario_invalid')`` for everything that is no plain YAML."""
    import yaml

    if len(data) > LARGEST:
        raise invalid(name, 1, f"is larger than {LARGEST >> 10} KiB")
    try:
        text = data.decode("utf-8")
        _refuse_tricks(text, name)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise invalid(name, line, "is not UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise invalid(name, mark.line + 1 if mark else 1, f"not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise invalid(name, 1, f"not YAML: {type(error).__name__}") from error
    if root is None:
        raise invalid(name, 1, "is empty")
    lines: dict[Path, int] = {(): 1}
    return Parsed(_plain(root, (), lines, name), lines, name)


def _refuse_tricks(text: str, name: str) -> None:
    """Before any tree is built: its size is then the file's."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise invalid(name, line, "aliases (*name) are not read", "write it out")
        if getattr(event, "tag", None) is not None:
            raise invalid(name, line, "tags (!name) are not read")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise invalid(name, line, f"is nested more than {_DEEPEST} deep")


def _plain(node: "yaml.Node", path: Path, lines: dict[Path, int], name: str) -> Any:
    import yaml

    if isinstance(node, yaml.ScalarNode):
        if not node.value.isascii() and re.search("[\ud800-\udfff]", node.value):
            raise invalid(name, node.start_mark.line + 1, "half a surrogate pair is no character")
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        found = []
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            found.append(_plain(item, (*path, index), lines, name))
        return found
    tree: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise invalid(name, line, "a key must be a word")
        if key.value in tree:
            raise invalid(name, line, f"the key {key.value!r} stands there twice")
        lines[(*path, key.value)] = line
        tree[key.value] = _plain(value, (*path, key.value), lines, name)
    return tree


def _scalar(node: "yaml.ScalarNode") -> Any:
    text = str(node.value)
    if node.style is not None:  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    return float(text) if _DECIMAL.match(text) else text


def scenario_of(parsed: Parsed) -> "Scenario":
    """The typed scenario; the first thing that is wrong is told with its line."""
    from pydantic import ValidationError

    from aeterna_cli.workflows.dr_drill.scenario import Scenario

    if not isinstance(parsed.tree, dict):
        raise parsed.error((), "is not a mapping of keys")
    try:
        return Scenario.model_validate(parsed.tree)
    except ValidationError as error:
        raise first_problem(parsed, (), error, keys_of()) from None


def first_problem(parsed: Parsed, at: Path, error: Any, known: Iterable[str]) -> UsageError:
    """The first finding of pydantic as an error of ours, at ``at`` of the file."""
    problems = error.errors(include_input=False, include_url=False)
    unknown = [one for one in problems if one["type"] == "extra_forbidden"]
    problem = (unknown or problems)[0]  # a misspelt key explains the one that is missing
    path = (*at, *problem["loc"])
    word = str(path[-1]) if path else ""
    if problem["type"] == "extra_forbidden":
        return parsed.error(path, f"unknown key {word!r}", closest(word, known))
    where = ".".join(str(part) for part in path if (part not in ("action", "pause")))
    return parsed.error(
        path, f"{where or 'the file'}: {problem['msg'].removeprefix('Value error, ')}"
    )


def keys_of() -> set[str]:
    """Every key that a scenario may have, wherever it stands."""
    from aeterna_cli.workflows.dr_drill import scenario

    parts = (scenario.Scenario, scenario.Hypothesis, scenario.Probe, scenario.Action,
             scenario.Pause, scenario.Load, scenario.Tolerance, scenario.Writers,
             scenario.Objective)  # fmt: skip
    return {
        field.alias or name for part in parts for name, field in part.model_fields.items()
    } | set(scenario.STORES)
