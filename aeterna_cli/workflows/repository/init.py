"""``repository init``: a backup repository that only this deployment writes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment, repository_identity
from aeterna_cli.errors import RefusedError
from aeterna_cli.output.result import Result
from aeterna_cli.repository.repository import Repository
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.keys import KeyService

#: what the place answers where a repository can be made; a directory is made when it is missing
_FREE = frozenset({"repository_uninitialised", "repository_directory_missing"})


@dataclass(frozen=True)
class Initialised:
    """``public_key`` verifies manifests; keep a copy outside the deployment."""

    location: str
    uuid: str
    format: str
    deployment: str
    public_key: str
    signing_key_file: Path
    key_service: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """What a dry run would make, and where. An existing signing key would be taken."""

    location: str
    deployment: str
    signing_key_file: Path
    key_service: str


def run(ctx: Context) -> Result:
    """A new repository, or a refusal; an existing one is never touched.

    Before anything is written: the place is free, conditional writes are tried with racing
    writers, and the key service answers. ``RefusedError``: ``repository_exists``,
    ``repository_foreign`` (another deployment's), ``offline_recipient_missing`` (a production
    profile without one), ``conditional_writes_ignored``. A dry run refuses the same places.
    """
    _want_offline_recipient(ctx)
    place = ctx.deployment
    _refuse_existing(place)
    if ctx.flags.dry_run:
        where = place.objects.description
        would = Planned(where, place.id, place.signing_key_file, place.key_service.description)
        text = f"would use {where}"
        return Result("aeterna.repository.init.planned/1", would, lambda: text)
    place.prepare_repository_place()
    findings = [*place.probe_conditional_writes(), *_key_service_ready(place.key_service)]
    _refuse_errors(findings)
    key_file = place.signing_key_file
    key = SigningKey.load(key_file) if key_file.exists() else SigningKey.generate()
    if not key_file.exists():
        key.save(key_file)
    repository = Repository.initialise(place.objects, deployment=place.id, signing_key=key)
    place.pins.record(repository_identity(repository))
    done = Initialised(
        place.objects.description,
        repository.info.uuid,
        repository.info.format,
        place.id,
        key.public,
        key_file,
        place.key_service.description,
        tuple(finding.message for finding in findings),
    )
    return Result("aeterna.repository.init/1", done, lambda: _view(done))


def _want_offline_recipient(ctx: Context) -> None:
    if ctx.profile.environment == "production" and not ctx.profile.keys.offline_recipients:
        raise RefusedError(
            "offline_recipient_missing",
            "a production profile needs at least one offline recipient",
            hint="losing the key service must not mean losing the backups",
            next_steps=[
                "age-keygen -o offline.key  # on a machine that is not this one",
                "set keys.offline_recipients in the profile to its public key",
            ],
        )


def _refuse_existing(place: Deployment) -> None:
    """Asked before a signing key is made: a refusal must not leave a key that fits nothing."""
    try:
        Repository.open(place.objects, deployment=place.id)
    except RefusedError as error:
        if error.code not in _FREE:
            raise
        return
    raise RefusedError(
        "repository_exists",
        f"{place.objects.description} is a repository already",
        hint="an existing repository is never initialised again",
        next_steps=["aeterna-cli backup list"],
    )


def _key_service_ready(service: KeyService) -> Sequence[Finding]:
    service.ensure_key()
    return service.probe()


def _refuse_errors(findings: Sequence[Finding]) -> None:
    for finding in findings:
        if finding.severity == "error":
            raise RefusedError(finding.code, finding.message, hint=finding.mend)


def _view(done: Initialised) -> str:
    lines = [
        f"repository {done.uuid} (format {done.format}) at {done.location}",
        f"  deployment  {done.deployment}",
        f"  signing key {done.signing_key_file} (mode 0600; back it up outside this machine)",
        f"  public key  {done.public_key}",
        f"  keys from   {done.key_service}",
        *(f"  note: {note}" for note in done.notes),
        "  next: aeterna-cli backup create",
    ]
    return "\n".join(lines)
