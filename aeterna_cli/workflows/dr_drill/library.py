"""Where scenarios lie: those that ship, the profile's folders, a file named by its path."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from aeterna_cli.errors import AeternaError, UsageError
from aeterna_cli.settings import Profile
from aeterna_cli.workflows.dr_drill.providers import bind_all
from aeterna_cli.workflows.dr_drill.scenario import Scenario
from aeterna_cli.workflows.dr_drill.scenario_text import LARGEST, closest, parse, scenario_of

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Loaded:
    """One scenario as it was read; ``sha256`` is of its bytes, ``origin`` where they lay."""

    name: str
    origin: str
    data: bytes
    scenario: Scenario

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Found:
    """One file; either ``loaded`` or the ``fault`` that makes it unusable."""

    name: str
    origin: str
    loaded: Loaded | None
    fault: AeternaError | None = None


def loaded_from(data: bytes, name: str, origin: str) -> Loaded:
    """``UsageError('scenario_invalid')`` with the line for anything that is no scenario."""
    parsed = parse(data, origin)
    scenario = scenario_of(parsed)
    bind_all(parsed, scenario)
    return Loaded(name, origin, data, scenario)


def everything(profile: Profile) -> list[Found]:
    """Every scenario by name; a broken file is shown as broken, never left out."""
    found = []
    for name, origin, data in [*_shipped(), *_own(profile)]:
        try:
            if isinstance(data, AeternaError):
                raise data
            found.append(Found(name, origin, loaded_from(data, name, origin)))
        except AeternaError as error:
            found.append(Found(name, origin, None, error))
    return sorted(found, key=lambda one: (one.name, one.origin))


def load(word: str, profile: Profile) -> Loaded:
    """By name, or by a path (with a slash or ``.yaml``). ``UsageError``: ``scenario_unknown`` with
    the closest name, ``scenario_ambiguous``, ``scenario_invalid``, ``scenario_unreadable``."""
    if "/" in word or word.endswith(_SUFFIXES):
        path = Path(word).expanduser()
        return loaded_from(_read(path), _stem(path), path.name)
    known = everything(profile)
    hits = [one for one in known if one.name == word]
    if not hits:
        raise UsageError(
            "scenario_unknown",
            f"there is no drill {word!r}",
            hint=closest(word, [one.name for one in known]),
            next_steps=["aeterna-cli dr-drill list"],
        )
    if len(hits) > 1:
        raise UsageError(
            "scenario_ambiguous",
            f"{word!r} is the name of {len(hits)} drills: {', '.join(one.origin for one in hits)}",
            hint="rename the file in the folder of drills.folders, or give its path",
        )
    (one,) = hits
    if one.loaded is None:
        raise one.fault or UsageError("scenario_invalid", f"{one.origin} is unusable")
    return one.loaded


def _shipped() -> Iterator[tuple[str, str, bytes]]:
    for entry in resources.files("aeterna_cli.drills").iterdir():
        if entry.name.endswith(".yaml"):
            yield entry.name.removesuffix(".yaml"), entry.name, entry.read_bytes()


def _own(profile: Profile) -> Iterator[tuple[str, str, bytes | AeternaError]]:
    for folder in profile.drills.folders:
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix in _SUFFIXES)
        except OSError as error:
            raise UsageError(
                "drill_folder_unreadable", f"cannot read the folder {folder}: {error.strerror}"
            ) from error
        for path in paths:
            try:
                yield _stem(path), str(path), _read(path)
            except UsageError as error:
                yield path.stem[:64], str(path), error


def _stem(path: Path) -> str:
    if not _NAME.match(path.stem):
        raise UsageError(
            "scenario_invalid", f"{path.name!r}: a drill's name has a-z, 0-9 and dashes only"
        )
    return path.stem


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError("scenario_unreadable", f"cannot read {path}: {error.strerror}") from error
