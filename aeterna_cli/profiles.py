"""Where a profile's values come from, layer by layer, so that ``config show --origin`` can say it.

Layers, the later wins: defaults, the profile in ``config.toml``, ``AETERNA_*`` environment
(``AETERNA_POSTGRES__HOST``), flags. The running lab is the default profile only where no other
exists; its name is ``lab`` and its file lies in ``.lab/``.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeterna_cli.errors import UsageError

LAB_PROFILE = "lab"


@dataclass(frozen=True)
class LoadedProfile:
    """A validated profile, its name, and for every dotted key the layer that set it."""

    name: str
    values: Any  # settings.Profile; typed loosely so that importing this module stays cheap
    origins: Mapping[str, str]


def config_path() -> Path:
    """``$AETERNA_CONFIG``, else ``config.toml`` in the XDG configuration folder."""
    explicit = os.environ.get("AETERNA_CONFIG")
    return Path(explicit) if explicit else _xdg("XDG_CONFIG_HOME", ".config") / "config.toml"


def lab_directory() -> Path:
    """The lab's folder: ``$AETERNA_LAB_DIR`` or ``.lab`` in the current directory."""
    return Path(os.environ.get("AETERNA_LAB_DIR") or ".lab").absolute()


def state_directory(profile: str) -> Path:
    """Where this machine keeps the journals and pins of a profile.

    The lab's state lies inside the lab's folder, so that nothing is left outside the checkout.
    """
    if profile == LAB_PROFILE:
        return lab_directory() / "state"
    return _xdg("XDG_STATE_HOME", ".local/state") / profile


def cache_directory(profile: str) -> Path:
    """Where completion finds names without starting Python."""
    if profile == LAB_PROFILE:
        return lab_directory() / "cache"
    return _xdg("XDG_CACHE_HOME", ".cache") / profile


def _xdg(variable: str, fallback: str) -> Path:
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / fallback) / "aeterna-cli"


def read_toml(path: Path) -> dict[str, Any]:
    """The file as a tree; an empty one where there is no file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(
            "config_unreadable",
            f"cannot read {path}: {error.strerror}",
            hint="check its permissions",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("config_invalid", f"{path} is not valid TOML: {error}") from error


def profile_names() -> list[str]:
    """Every profile that can be named, the configured ones first."""
    names = list(read_toml(config_path()).get("profiles", {}))
    if (lab_directory() / "profile.toml").exists() and LAB_PROFILE not in names:
        names.append(LAB_PROFILE)
    return names


def choose(requested: str | None) -> str:
    """The profile's name by flag, ``AETERNA_PROFILE``, ``default_profile``, the only one, the lab.

    ``UsageError`` where none or several could be meant: guessing a deployment is never right.
    """
    wanted = requested or os.environ.get("AETERNA_PROFILE")
    if wanted:
        return wanted
    tree = read_toml(config_path())
    default = tree.get("default_profile")
    if isinstance(default, str):
        return default
    configured = list(tree.get("profiles", {}))
    if len(configured) == 1:
        return str(configured[0])
    if configured:
        raise UsageError(
            "profile_ambiguous",
            f"several profiles and no default: {', '.join(sorted(configured))}",
            next_steps=["--profile NAME", f'or default_profile = "NAME" in {config_path()}'],
        )
    if (lab_directory() / "profile.toml").exists():
        return LAB_PROFILE
    raise UsageError(
        "profile_missing",
        "there is no profile and no lab here",
        hint="a profile says which deployment is meant",
        next_steps=["aeterna-cli config init", "aeterna-cli lab up"],
    )


def load(requested: str | None = None, overrides: Mapping[str, Any] | None = None) -> LoadedProfile:
    """The chosen profile with every layer applied and checked; ``UsageError`` names a bad key."""
    name = choose(requested)
    layers: list[tuple[str, Mapping[str, Any]]] = [
        _file_layer(name),
        ("environment", _environment_layer()),
        ("flag", overrides or {}),
    ]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, tree in layers:
        _merge(merged, tree, origin, origins, "")
    return LoadedProfile(name, _validated(name, merged), origins)


def _file_layer(name: str) -> tuple[str, Mapping[str, Any]]:
    path = config_path()
    profiles = read_toml(path).get("profiles", {})
    if name not in profiles and name == LAB_PROFILE:
        path = lab_directory() / "profile.toml"
        profiles = read_toml(path).get("profiles", {})
    if name not in profiles:
        known = ", ".join(profile_names()) or "none"
        raise UsageError(
            "profile_unknown",
            f"there is no profile {name!r}; known: {known}",
            next_steps=["aeterna-cli config init", "aeterna-cli lab up"],
        )
    tree = profiles[name]
    if not isinstance(tree, dict):
        raise UsageError("config_invalid", f"profiles.{name} in {path} is not a table")
    _refuse_secrets(tree, f"profiles.{name}", path)
    return str(path), tree


_SECRET_KEYS = frozenset({"password", "api_key", "token", "secret_access_key"})


def _refuse_secrets(tree: Mapping[str, Any], where: str, path: Path) -> None:
    """A secret in the configuration file ends up in backups, tickets and repositories."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            _refuse_secrets(value, f"{where}.{key}", path)
        elif key in _SECRET_KEYS:
            raise UsageError(
                "secret_in_config",
                f"{where}.{key} in {path} holds a secret",
                hint=f"use {key}_file, or the environment",
            )


def _environment_layer() -> dict[str, Any]:
    """``AETERNA_A__B=v`` as ``{a: {b: v}}``, by pydantic-settings' own rules."""
    from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

    from aeterna_cli.settings import Profile

    class FromEnvironment(BaseSettings, Profile):
        model_config = SettingsConfigDict(
            env_prefix="AETERNA_", env_nested_delimiter="__", extra="ignore", frozen=True
        )

    return dict(EnvSettingsSource(FromEnvironment)())


def _merge(
    into: dict[str, Any],
    tree: Mapping[str, Any],
    origin: str,
    origins: dict[str, str],
    prefix: str,
) -> None:
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            branch = into.setdefault(key, {})
            if isinstance(branch, dict):
                _merge(branch, value, origin, origins, f"{dotted}.")
                continue
        into[key] = value
        origins[dotted] = origin


def _validated(name: str, tree: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from aeterna_cli.settings import Profile

    try:
        return Profile.model_validate(tree)
    except ValidationError as error:
        # The input is left out on purpose: a mistyped secret must not reach the terminal.
        problems = [
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise UsageError(
            "config_invalid",
            f"profile {name!r} is not valid: {'; '.join(problems)}",
            hint="a misspelt key is an error, not a comment",
            next_steps=["aeterna-cli config show --origin"],
        ) from None
