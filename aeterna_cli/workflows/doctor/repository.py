"""What is looked at in the repository and in what opens it."""

from collections.abc import Iterator, Sequence

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AuthenticationError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.doctor.look import Look, Seen
from aeterna_cli.workflows.doctor.platform import Purpose

REPOSITORY, KEYS = "repository", "key service"
_CONTEXT = b"aeterna-cli doctor"


def looks(place: Deployment, purposes: Sequence[Purpose]) -> Iterator[Look]:
    yield Look(REPOSITORY, lambda: _repository(place))
    yield Look("repository, one winner", lambda: _conditional(place), REPOSITORY)
    if place.profile.repository.url.startswith("s3://"):
        yield Look("repository, bucket", lambda: _bucket(place), REPOSITORY)
    if "backup" in purposes:
        yield Look("signing key", lambda: _signing_key(place), REPOSITORY)
        yield Look(KEYS, lambda: _wraps(place))
        yield Look("key service, unwrapping", lambda: _unwraps(place, purposes), KEYS)
        yield Look("offline recipients", lambda: _offline(place))
    if "restore" in purposes:
        yield Look("newest backup's key", lambda: _newest(place), REPOSITORY)


def _repository(place: Deployment) -> Seen:
    info = place.repository.info  # opened, and compared with its pins
    return Seen(f"{place.objects.description}, format {info.format}")


def _conditional(place: Deployment) -> Seen:
    return Seen("one of eight racing writers won", place.probe_conditional_writes())


def _bucket(place: Deployment) -> Seen:
    from aeterna_cli.stores.s3_condition import examine

    return Seen(findings=examine(place.profile.repository))


def _signing_key(place: Deployment) -> Seen:
    from aeterna_cli.repository.signing import SigningKey

    key = SigningKey.load(place.signing_key_file)
    if key.public == place.repository.info.public_key:
        return Seen(str(place.signing_key_file))
    finding = Finding(
        "signing_key_differs",
        "error",
        str(place.signing_key_file),
        "this is not the key that the repository was made with",
        "put the original key back: manifests signed by another key are refused",
    )
    return Seen(findings=[finding])


def _wraps(place: Deployment) -> Seen:
    service = place.key_service
    return Seen(service.description, service.probe())


def _unwraps(place: Deployment, purposes: Sequence[Purpose]) -> Seen:
    """What was wrapped opens again. A backup host need not be able to: then it is a remark."""
    service = place.key_service
    secret = b"doctor"
    wrapped = service.wrap(secret, context=_CONTEXT)
    try:
        same = service.unwrap(wrapped, context=_CONTEXT) == secret
    except AuthenticationError as error:
        severity = "error" if "restore" in purposes else "info"
        message = "this token wraps keys and cannot open them: enough for backups, not to restore"
        mend = "aeterna-cli doctor --grants --purpose restore"
        return Seen(findings=[Finding(error.code, severity, service.description, message, mend)])
    if same:
        return Seen("what was wrapped opens again")
    message = "what was wrapped comes back as something else: no backup could be opened"
    finding = Finding("key_service_broken", "error", service.description, message)
    return Seen(findings=[finding])


def _offline(place: Deployment) -> Seen:
    recipients = place.profile.keys.offline_recipients
    if recipients:
        return Seen(f"{len(recipients)} in the profile")
    severity = "error" if place.profile.environment == "production" else "info"
    finding = Finding(
        "offline_recipient_missing",
        severity,
        "keys.offline_recipients",
        "no offline recipient: without the key service no backup can be opened",
        "age-keygen on another machine; its public key into keys.offline_recipients",
    )
    return Seen(findings=[finding])


def _newest(place: Deployment) -> Seen:
    """The newest backup's own key slot is opened, as a restore would."""
    from aeterna_cli.workflows.restore.opened import OpenedBackup

    if not any(one.tenant is None for one in place.repository.backups()):
        message = "there is no backup: nothing can be restored"
        mend = "aeterna-cli backup create"
        return Seen(findings=[Finding("no_backup", "info", REPOSITORY, message, mend)])
    opened = OpenedBackup.open(place, "latest")
    _ = opened.identity
    return Seen(f"{opened.id} opens")
