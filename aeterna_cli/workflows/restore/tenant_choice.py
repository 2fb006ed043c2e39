"""What somebody wants restored of one tenant: checked words, nothing contacted yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from aeterna_cli.errors import UsageError
from aeterna_cli.workflows import words
from aeterna_cli.workflows.tenant.archive import STORE_OF

Mode = Literal["missing", "replace"]
MODES: tuple[Mode, ...] = ("missing", "replace")


@dataclass(frozen=True)
class TenantChoice:
    """``tenant`` is an id, a slug or a name; any text. ``at`` None: the backup's own moment.
    ``mode``: only what is missing, or exactly as it was. ``allow_skew`` is in seconds."""

    tenant: str
    backup: str
    at: datetime | None
    mode: Mode
    stores: tuple[str, ...]
    allow_skew: float
    identity_file: Path | None

    @property
    def parts(self) -> dict[str, str]:
        """The parts of an archive that are asked for, each with its store."""
        return {part: store for part, store in STORE_OF.items() if store in self.stores}

    def as_document(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "backup": self.backup,
            "at": self.at.isoformat() if self.at else None,
            "mode": self.mode,
            "stores": list(self.stores),
            "allow_skew": self.allow_skew,
            "identity_file": str(self.identity_file) if self.identity_file else None,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "TenantChoice":
        at, identity = document["at"], document["identity_file"]
        return cls(
            tenant=document["tenant"],
            backup=document["backup"],
            at=datetime.fromisoformat(at) if at else None,
            mode=document["mode"],
            stores=tuple(document["stores"]),
            allow_skew=document["allow_skew"],
            identity_file=Path(identity) if identity else None,
        )


def choose(
    tenant: str,
    backup: str,
    *,
    mode: str | None,
    at: str | None,
    store: Sequence[str] | None,
    allow_skew: str | None,
    identity: str | None,
    unusable: Mapping[str, object],
) -> TenantChoice:
    """The words of the command line as a choice. ``unusable``: options of a whole restore."""
    for name, value in unusable.items():
        if value is not None:
            raise UsageError(
                "option_for_whole_restores", f"--{name} cannot be used with --tenant-id"
            )
    chosen = mode or "missing"
    if chosen not in MODES:
        raise UsageError(
            "mode_unknown", f"there is no mode {chosen!r}", hint=f"one of {', '.join(MODES)}"
        )
    stores = words.some_of(store, tuple(STORE_OF.values()))
    if at is not None and "postgres" not in stores:
        raise UsageError("target_without_postgres", "--at is for PostgreSQL")
    return TenantChoice(
        tenant,
        backup,
        words.moment(at) if at is not None else None,
        "replace" if chosen == "replace" else "missing",
        stores,
        words.seconds(allow_skew) if allow_skew else 0.0,
        Path(identity).expanduser().absolute() if identity else None,
    )
