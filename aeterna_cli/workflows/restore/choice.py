"""What somebody wants restored: checked words, nothing contacted yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aeterna_cli.errors import UsageError
from aeterna_cli.stores.base.server_control import StoreName
from aeterna_cli.workflows import words
from aeterna_cli.workflows.restore.tenant_choice import TenantChoice
from aeterna_cli.workflows.restore.tenant_choice import choose as choose_tenant


@dataclass(frozen=True)
class Choice:
    """One restore as asked for. At most one of ``at``, ``lsn`` and ``name`` is set; none of them
    means the backup's own recovery point. ``allow_skew`` is in seconds."""

    backup: str
    at: datetime | None
    lsn: int | None
    name: str | None
    stores: tuple[StoreName, ...]
    into: str | None
    data_dir: Path | None
    allow_skew: float
    identity_file: Path | None

    @property
    def moves_postgres(self) -> bool:
        """PostgreSQL goes to another moment than the backup's own."""
        return self.at is not None or self.lsn is not None or self.name is not None


def choose(
    backup: str,
    *,
    at: str | None,
    lsn: str | None,
    name: str | None,
    store: Sequence[str] | None,
    into: str | None,
    data_dir: str | None,
    allow_skew: str | None,
    identity: str | None,
) -> Choice:
    """The words of the command line as a choice; ``UsageError`` where they contradict."""
    targets = [word for word in (at, lsn, name) if word is not None]
    if len(targets) > 1:
        raise UsageError("targets_contradict", "--at, --lsn and --name exclude each other")
    chosen = words.stores(store)
    if targets and "postgres" not in chosen:
        raise UsageError("target_without_postgres", "--at, --lsn and --name are for PostgreSQL")
    if data_dir is not None and (chosen != ("postgres",) or into is not None):
        raise UsageError(
            "data_dir_is_for_postgres",
            "--data-dir leaves PostgreSQL's data in a directory and restores nothing else",
            next_steps=["add --store postgres"],
        )
    return Choice(
        backup,
        words.moment(at) if at is not None else None,
        words.position(lsn) if lsn is not None else None,
        name,
        chosen,
        into,
        Path(data_dir).expanduser().absolute() if data_dir else None,
        words.seconds(allow_skew) if allow_skew else 0.0,
        Path(identity).expanduser().absolute() if identity else None,
    )


def asked(
    backup: str,
    tenant: str | None,
    *,
    mode: str | None,
    at: str | None,
    lsn: str | None,
    name: str | None,
    store: Sequence[str] | None,
    into: str | None,
    data_dir: str | None,
    allow_skew: str | None,
    identity: str | None,
) -> Choice | TenantChoice:
    """A choice of the whole deployment, or of the tenant that is named."""
    if tenant is not None:
        return choose_tenant(
            tenant,
            backup,
            mode=mode,
            at=at,
            store=store,
            allow_skew=allow_skew,
            identity=identity,
            unusable={"lsn": lsn, "name": name, "into": into, "data-dir": data_dir},
        )
    if mode is not None:
        raise UsageError("mode_without_tenant", "--mode is for one tenant: add --tenant-id")
    return choose(
        backup,
        at=at,
        lsn=lsn,
        name=name,
        store=store,
        into=into,
        data_dir=data_dir,
        allow_skew=allow_skew,
        identity=identity,
    )
