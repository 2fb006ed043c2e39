"""The rules files: the one that ships, and those of the profile, as one set of plain entries.

A file is TOML with arrays of tables: ``[[table]]``, ``[[collection]]``, ``[[key]]`` and
``[[object]]``. Every entry has a ``name``; an entry of a later file replaces the one of the same
kind and name. What an entry may say is the business of the module that reads its kind.
"""

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from aeterna_cli.errors import UsageError

KINDS = ("table", "collection", "key", "object")
SHIPPED = "aeterna.toml"

Entry = Mapping[str, Any]
Rules = Mapping[str, Sequence[Entry]]


def load(files: Sequence[Path] = ()) -> Rules:
    """Every entry by kind, the shipped ones first; ``UsageError('rules_invalid')`` names the file.

    ``UsageError('rules_unreadable')`` where a file cannot be read.
    """
    shipped = resources.files("aeterna_cli.datamap").joinpath(SHIPPED)
    found: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
    _add(found, SHIPPED, shipped.read_text(encoding="utf-8"))
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                "rules_unreadable",
                f"cannot read the rules file {path}: {getattr(error, 'strerror', None) or error}",
                hint="check datamap.rules in the profile",
            ) from error
        _add(found, str(path), text)
    return {kind: tuple(entries.values()) for kind, entries in found.items()}


def _add(found: dict[str, dict[str, Entry]], where: str, text: str) -> None:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise invalid(where, f"is not valid TOML: {error}") from error
    for kind, entries in tree.items():
        if kind not in KINDS:
            raise invalid(where, f"has {kind!r}; known are {', '.join(KINDS)}")
        if not isinstance(entries, list):
            raise invalid(where, f"{kind} must be an array of tables: [[{kind}]]")
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise invalid(where, f"an entry of [[{kind}]] has no name")
            found[kind][entry["name"]] = entry


def invalid(where: str, what: str) -> UsageError:
    """The error for a rule that cannot be understood: guessing where data lives is never right."""
    return UsageError(
        "rules_invalid", f"the rules file {where} {what}", hint="see docs/formats.md, rules files"
    )
