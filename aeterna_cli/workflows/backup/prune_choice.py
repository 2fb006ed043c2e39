"""What a prune would delete and what it keeps, each with its reason. Only reads."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.keys.wal_identity import wal_key_days
from aeterna_cli.repository import inventory, layout
from aeterna_cli.repository.catalogue import CatalogueEntry
from aeterna_cli.repository.manifest import Manifest, load
from aeterna_cli.repository.repository import Repository
from aeterna_cli.repository.retention import (
    BackupFact,
    Decision,
    Policy,
    WalObject,
    WalStart,
    decide,
    expendable_key_days,
    expendable_wal,
)
from aeterna_cli.repository.wal_archive import list_chunks, lsn_number

#: A folder without a manifest may be a backup that runs without its lease: a paused host, a broken
#: glass. After this long it is not.
UNFINISHED_AGE = timedelta(hours=24)
_READERS = 8  # manifests read at once


@dataclass(frozen=True)
class Judged:
    """One backup and what becomes of it. ``reasons`` say why it is kept, or why it goes.
    A tenant's backups are judged among themselves."""

    backup: str
    recovery_point: datetime | None
    stored_bytes: int
    keep: bool
    reasons: tuple[str, ...]
    scope: str | None = None  # the slug of the tenant whose data alone it holds


@dataclass(frozen=True)
class Choice:
    """Everything that goes and stays. ``wal_kept_because`` is empty where WAL was judged.

    ``pruned`` are backups that an earlier prune gave up and did not delete to the end;
    ``unfinished`` and ``too_young`` are folders that never became a backup.
    """

    judged: tuple[Judged, ...]
    pruned: tuple[str, ...]
    unfinished: tuple[str, ...]
    too_young: tuple[str, ...]
    wal: tuple[WalObject, ...]
    wal_bytes: int
    key_days: tuple[date, ...]
    wal_kept_because: str

    @property
    def going(self) -> tuple[str, ...]:
        return tuple(one.backup for one in self.judged if not one.keep)

    @property
    def nothing(self) -> bool:
        return not (self.going or self.pruned or self.unfinished or self.wal or self.key_days)


@dataclass(frozen=True)
class Known:
    """What the manifests say. A backup in ``unknown`` cannot be judged: it stays, and so does
    every byte of WAL, for nobody can say what it needs."""

    facts: tuple[BackupFact, ...]
    stored: Mapping[str, int]
    unknown: Mapping[str, str]
    slugs: Mapping[str, str]


def choose(repository: Repository, policy: Policy) -> Choice:
    """By the signed manifests, never by the catalogue's summaries; on the repository's clock."""
    now = repository.store.now()
    known = read_known(repository)
    decisions = decide(known.facts, policy, now)
    gone = {entry.backup for entry in inventory.pruned(repository)}
    left = inventory.leftovers(repository)
    old = [one for one in left if one not in gone and _age(one, now) >= UNFINISHED_AGE]
    wal, days, why = _wal_that_goes(repository, known, decisions)
    return Choice(
        judged=tuple(_judged(known, decisions, policy)),
        pruned=tuple(one for one in left if one in gone),
        unfinished=tuple(old),
        too_young=tuple(one for one in left if one not in gone and one not in old),
        wal=tuple(chunk for chunk, _size in wal),
        wal_bytes=sum(size for _chunk, size in wal),
        key_days=tuple(days),
        wal_kept_because=why,
    )


def read_known(repository: Repository) -> Known:
    """Every committed backup. What the store raises; an unacceptable manifest is no error here."""

    def read(entry: CatalogueEntry) -> Manifest | str:
        try:
            return load(repository, entry.backup)
        except (RefusedError, RemoteError) as error:
            return error.message

    entries = repository.backups()
    with ThreadPoolExecutor(_READERS, "manifests") as readers:
        found = list(zip(entries, readers.map(read, entries), strict=True))
    good = [(entry, one) for entry, one in found if isinstance(one, Manifest)]
    return Known(
        tuple(_fact(entry, manifest) for entry, manifest in good),
        {entry.backup: manifest.stored_bytes for entry, manifest in good},
        {entry.backup: one for entry, one in found if isinstance(one, str)},
        {entry.backup: manifest.scope.slug for entry, manifest in good if manifest.scope},
    )


def wal_now(repository: Repository) -> tuple[list[str], list[date]]:
    """Keys of WAL chunks and days of WAL keys that no committed backup needs, as things are now."""
    known = read_known(repository)
    kept = [Decision(fact, ("window",)) for fact in known.facts]
    wal, days, _why = _wal_that_goes(repository, known, kept)
    return [chunk.key for chunk, _size in wal], days


def _fact(entry: CatalogueEntry, manifest: Manifest) -> BackupFact:
    postgres = manifest.stores.get("postgres")
    start = None
    if postgres is not None:
        start = WalStart(
            postgres.identity,
            lsn_number(str(postgres.facts["start_lsn"])),
            int(postgres.facts["wal_segment_size"]),
        )
    return BackupFact(
        entry.backup,
        manifest.recovery_point.time,
        manifest.created,
        held=entry.held,
        wal=start,
        tenant=manifest.tenant,
    )


def _judged(known: Known, decisions: Sequence[Decision], policy: Policy) -> Iterator[Judged]:
    words = {
        "held": "held",
        "window": f"inside the window of {policy.window_days} days",
        "window_anchor": "the window's first moments are restored from it",
        "keep_last": f"one of the newest {policy.keep_last}",
        "minimum": f"the minimum is {policy.minimum}",
    }
    for one in decisions:
        fact = one.backup
        reasons = tuple(words[reason] for reason in one.reasons) or (
            f"older than {policy.window_days} days and not one of the newest {policy.keep_last}",
        )
        size, slug = known.stored[fact.backup], known.slugs.get(fact.backup)
        yield Judged(fact.backup, fact.time, size, one.keep, reasons, slug)
    for backup, why in known.unknown.items():
        yield Judged(backup, None, 0, True, (f"cannot be judged: {why}",))


def _wal_that_goes(
    repository: Repository, known: Known, decisions: Sequence[Decision]
) -> tuple[list[tuple[WalObject, int]], list[date], str]:
    if known.unknown:
        names = ", ".join(known.unknown)
        return [], [], f"nobody can say what WAL {names} needs"
    found = dict(_stored_wal(repository))
    goes = expendable_wal(found, decisions)
    days = wal_key_days(repository.store, layout.WAL_KEYS)
    return [(chunk, found[chunk]) for chunk in goes], list(expendable_key_days(days, decisions)), ""


def _stored_wal(repository: Repository) -> Iterator[tuple[WalObject, int]]:
    for system in repository.store.list_folders(f"{layout.WAL}/"):
        if not (system.isascii() and system.isdigit()):
            continue  # nothing that this tool wrote
        for chunk in list_chunks(repository.store, layout.wal_folder(system)):
            assert chunk.modified is not None  # noqa: S101 - every listed chunk has it
            yield WalObject(chunk.key, system, chunk.end, chunk.modified), chunk.size


def _age(backup: str, now: datetime) -> timedelta:
    return now - layout.parse_backup_id(backup)
