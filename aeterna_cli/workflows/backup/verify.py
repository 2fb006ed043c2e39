"""``backup verify``: is this backup whole, does it open, and (``--restore``) does it come back?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from aeterna_cli.context import Context
from aeterna_cli.errors import ConflictError, FindingsError, RefusedError, RemoteError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_bytes, human_seconds
from aeterna_cli.repository import catalogue, layout
from aeterna_cli.repository.catalogue import CatalogueEntry
from aeterna_cli.repository.manifest import TENANT_PARTS, Manifest, load, newest
from aeterna_cli.repository.repository import Repository
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.backup.verify_keys import MEND
from aeterna_cli.workflows.backup.verify_objects import Checked, ObjectCheck
from aeterna_cli.workflows.backup.verify_restore import (
    CROSS_STORE,
    RestoredStore,
    ScratchRestore,
    space_needed,
)
from aeterna_cli.workflows.backup.verify_tenant import TenantRead
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.scratch import scratch
from aeterna_cli.workflows.workspace import want_space

Verdict = Literal["good", "not_proven", "damaged"]
#: What a forged or damaged manifest is told as; anything else about it is an error.
_BAD_MANIFEST = frozenset({"signature_invalid", "manifest_invalid"})


@dataclass(frozen=True)
class Verified:
    """``good``: everything was looked at and is as it should be. ``not_proven``: nothing bad was
    found, but not everything could be looked at. ``damaged``: an error stands in ``findings``.
    ``opened`` is False where no key was at hand; ``restored`` is None unless it was asked for.
    ``findings`` are all of them, those of the restored stores too; an info is only told."""

    backup: str
    verdict: Verdict
    signature_valid: bool
    opened: bool
    volumes: int
    objects: int
    wal_chunks: int
    slots: int
    stored_bytes: int
    check_seconds: float
    seconds: float
    findings: tuple[Finding, ...]
    restored: tuple[RestoredStore, ...] | None


def run(ctx: Context, backup: str, restore: bool, identity: str | None) -> Result:
    """Reads only. Exit 8 after the result was printed where anything was found.

    With ``restore`` every store comes up in a scratch server on this machine; space for it is
    checked first (``RefusedError('not_enough_space')``), and nothing of it is left (after a kill
    the next one removes it). Errors:
    ``RefusedError``: ``backup_missing``, ``no_backups``, ``identity_file_unreadable``,
    ``identity_file_invalid``; ``ConflictError('backup_pruned')`` where a prune was faster; faults
    of the repository.
    """
    began, repository = monotonic(), ctx.deployment.repository
    chosen = _chosen(repository, backup)
    identity_file = Path(identity).expanduser().absolute() if identity else None
    manifest, findings = _manifest(repository, chosen)
    checked: Checked | None = None
    restored: tuple[RestoredStore, ...] | None = None
    if manifest is not None:
        opened = OpenedBackup(ctx.deployment, manifest, identity_file)
        checked, restored = _checked(ctx, opened, restore, offline=identity_file is not None)
        findings += checked.findings
    for one in restored or ():
        findings += one.findings
    if any(one.severity == "error" for one in findings):
        _refuse_pruned(repository, chosen)
    return _judged(ctx, _verified(chosen, checked, findings, restored, monotonic() - began))


def _manifest(repository: Repository, backup: str) -> tuple[Manifest | None, list[Finding]]:
    """The manifest, or why nothing of what it says can be used."""
    try:
        return load(repository, backup), []
    except RefusedError as error:
        if error.code != "backup_missing":
            raise
        entry = _entry(repository, backup)
        if entry is None or entry.pruned:
            raise
        key = layout.manifest_key(backup)
        message = f"{key} is missing from the repository, and the catalogue says that it was there"
        return None, [Finding("object_missing", "error", key, message, MEND)]
    except RemoteError as error:
        if error.code not in _BAD_MANIFEST:
            raise
        key = layout.manifest_key(backup)
        if error.details.get("key") == layout.signature_key(backup):
            key = layout.signature_key(backup)
        message = f"{key}: {error.message}; nothing it names was looked at"
        return None, [Finding(error.code, "error", key, message, MEND)]


def _chosen(repository: Repository, backup: str) -> str:
    """The id that ``latest`` means; a bad manifest is then named by it."""
    return newest(repository) if backup == "latest" else backup


def _checked(
    ctx: Context, opened: OpenedBackup, restore: bool, *, offline: bool
) -> tuple[Checked, tuple[RestoredStore, ...] | None]:
    parent = ctx.deployment.cache_directory / "work"
    if restore:
        want_space(parent, space_needed(opened), "restoring this backup to scratch servers")
    manifest = opened.manifest
    wal = manifest.stores["postgres"].facts["wal"] if "postgres" in manifest.stores else ()
    total = manifest.stored_bytes + sum(chunk["size"] for chunk in wal)
    checked = ObjectCheck(
        opened,
        offline=offline,
        stop=ctx.stop.check,
        on_bytes=lambda done: ctx.out.progress("verifying", done, total),
    ).run()
    if not restore or not checked.opened:
        return checked, () if restore else None
    with scratch(parent) as work:
        kind = ScratchRestore if manifest.scope is None else TenantRead
        return checked, tuple(kind(ctx, opened, work).run(_damaged(opened, checked)))


def _damaged(opened: OpenedBackup, checked: Checked) -> frozenset[str]:
    """The stores whose own objects cannot be believed."""
    folder = layout.backup_folder(opened.id)
    bad = [one.subject for one in checked.findings if one.severity == "error"]
    return frozenset(
        store
        for store in opened.manifest.stores
        if any(subject.startswith(f"{folder}/{store}/") for subject in bad)
    )


def _refuse_pruned(repository: Repository, backup: str) -> None:
    """Objects that a prune deletes while we look are not damage: the catalogue says so first."""
    try:
        entry = _entry(repository, backup)
    except RemoteError as error:
        if error.code != "catalogue_damaged":
            raise
        return  # a prune would not begin: what was found is this backup's own damage
    if entry is not None and entry.pruned:
        raise ConflictError(
            "backup_pruned",
            f"backup {backup} was pruned before it could be verified",
            next_steps=["aeterna-cli backup list"],
        )


def _entry(repository: Repository, backup: str) -> CatalogueEntry | None:
    entries = catalogue.read(repository.store).entries()
    return next((entry for entry in entries if entry.backup == backup), None)


def _verified(
    backup: str,
    checked: Checked | None,
    findings: Sequence[Finding],
    restored: tuple[RestoredStore, ...] | None,
    seconds: float,
) -> Verified:
    severities = {one.severity for one in findings}
    verdict: Verdict = "good"
    if "error" in severities:
        verdict = "damaged"
    elif "warning" in severities:
        verdict = "not_proven"
    seen = checked or Checked(False, 0, 0, 0, 0, 0, 0.0, ())
    return Verified(
        backup=backup,
        verdict=verdict,
        signature_valid=checked is not None,
        opened=seen.opened,
        volumes=seen.volumes,
        objects=seen.objects,
        wal_chunks=seen.wal_chunks,
        slots=seen.slots,
        stored_bytes=seen.stored_bytes,
        check_seconds=seen.seconds,
        seconds=round(seconds, 3),
        findings=tuple(findings),
        restored=restored,
    )


def _judged(ctx: Context, done: Verified) -> Result:
    result = Result("aeterna.backup.verify/1", done, lambda: _view(done))
    if done.verdict == "good":
        return result
    ctx.out.result(result)
    wrong = [one for one in done.findings if one.severity in ("error", "warning")]
    count = _number(len(wrong), "finding", "findings")
    if done.verdict == "damaged":
        raise FindingsError(
            "backup_damaged",
            f"backup {done.backup} is damaged: {count}",
            hint="each finding names what is damaged; another backup may be whole",
            next_steps=["aeterna-cli backup list", "aeterna-cli backup create"],
        )
    raise FindingsError(
        "backup_not_proven",
        f"not everything of backup {done.backup} could be looked at: {count}",
        hint="nothing bad was found; each finding says what was not looked at, and why",
    )


_VERDICTS: Mapping[Verdict, str] = {
    "good": "whole",
    "not_proven": "nothing bad was found, but not everything could be looked at",
    "damaged": "DAMAGED",
}


def _view(done: Verified) -> str:
    lines = [f"backup {done.backup}: {_VERDICTS[done.verdict]}"]
    if done.signature_valid:
        how = "hashed and opened" if done.opened else "hashed, NOT opened"
        volumes = _number(done.volumes, "volume", "volumes")
        wal = _number(done.wal_chunks, "piece of WAL", "pieces of WAL")
        lines += [
            "  manifest     signed by this deployment",
            f"  objects      {volumes} and {wal} ({human_bytes(done.stored_bytes)}) {how}"
            f" in {human_seconds(done.check_seconds)}",
            f"  keys         {_number(done.slots, 'key slot', 'key slots')}",
        ]
    for one in done.restored or ():
        lines += _restored(one)
    if done.restored:
        lines.append(f"  took         {human_seconds(done.seconds)}")
    lines += _findings(done.findings)
    if done.verdict == "good" and done.restored is None:
        lines.append(f"  next: aeterna-cli backup verify {done.backup} --restore")
    return "\n".join(lines)


def _restored(one: RestoredStore) -> list[str]:
    time = human_seconds(one.seconds)
    if not one.restored:
        return [f"  {one.store:12} NOT RESTORED after {time}"]
    verb = "compared" if one.store == CROSS_STORE else "restored to a scratch server"
    if one.store in TENANT_PARTS:
        verb = "read to the end"
    return [
        f"  {one.store:12} {verb} in {time}",
        *(f"{'':15}{check.count:,} {check.name}" for check in one.checks),
    ]


def _findings(findings: Sequence[Finding]) -> list[str]:
    """The worst first, each with the name of what it is about; what is mended alike together."""
    lines = []
    for severity, word in _WORDS.items():
        mends: dict[str, list[str]] = {}
        for one in findings:
            if one.severity == severity:
                about = "" if one.subject in one.message else f"{one.subject}: "
                mends.setdefault(one.mend, []).append(f"  {word}: {about}{one.message}")
        for mend, told in mends.items():
            lines += [*told, *([f"    why/how: {mend}"] if mend else [])]
    return lines


def _number(count: int, one: str, many: str) -> str:
    return f"1 {one}" if count == 1 else f"{count:,} {many}"


_WORDS: Mapping[str, str] = {"error": "ERROR", "warning": "warning", "info": "note"}
