"""``config show``: the profile in force, and which layer set each value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.profiles import LoadedProfile


@dataclass(frozen=True)
class Value:
    """One setting. ``origin`` is a file, ``environment``, ``flag`` or ``default``."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class Shown:
    profile: str
    values: tuple[Value, ...]


def run(loaded: LoadedProfile, with_origin: bool) -> Result:
    """Every setting with its value. Secrets are shown as ``(set)``, whatever the format."""
    tree = loaded.values.model_dump()
    values = tuple(
        Value(key, _shown(key, value), loaded.origins.get(key, "default"))
        for key, value in _flat(tree, "")
    )
    columns = ["key", "value", "origin"] if with_origin else ["key", "value"]
    return Result(
        "aeterna.config.show/1",
        Shown(loaded.name, values),
        lambda: Table(
            columns,
            [
                [v.key, "" if v.value is None else str(v.value), v.origin][: len(columns)]
                for v in values
            ],
            title=f"profile {loaded.name}",
        ),
    )


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(key: str, value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return "(set)"
    if isinstance(value, tuple):
        return [_shown(key, item) for item in value]
    return value if isinstance(value, bool | int | float) or value is None else str(value)
