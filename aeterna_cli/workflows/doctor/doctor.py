"""``doctor``: what backup and restore need, looked at; every finding says what mends it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError, FindingsError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.stores import binaries
from aeterna_cli.stores.base.findings import Finding

RANK = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Examined:
    """One thing that was looked at, and what is to say about it; empty is well."""

    subject: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Diagnosis:
    profile: str
    examined: tuple[Examined, ...]

    @property
    def errors(self) -> int:
        return sum(f.severity == "error" for one in self.examined for f in one.findings)

    @property
    def warnings(self) -> int:
        return sum(f.severity == "warning" for one in self.examined for f in one.findings)


def run(ctx: Context) -> Result:
    """Looks at everything even where something fails; writes only below ``probe/``.

    The result is printed first; then errors and warnings end the command with exit 8.
    """
    place = ctx.deployment
    examined = tuple(_examine(subject, look) for subject, look in _looks(place))
    diagnosis = Diagnosis(place.name, examined)
    result = Result("aeterna.doctor/1", diagnosis, lambda: _view(diagnosis))
    if diagnosis.errors or diagnosis.warnings:
        ctx.out.result(result)
        raise FindingsError(
            "doctor_findings",
            f"{diagnosis.errors} errors and {diagnosis.warnings} warnings",
            hint="each line above says what mends it",
        )
    return result


def _looks(place: Deployment) -> Iterator[tuple[str, Callable[[], Sequence[Finding]]]]:
    yield "repository", lambda: _repository(place)
    yield "conditional writes", place.probe_conditional_writes
    yield "key service", lambda: _key_service(place)
    yield "offline recipients", lambda: _offline_recipients(place)
    yield "signing key", lambda: _signing_key(place)
    for purpose in ("backup", "receive", "restore"):
        yield f"PostgreSQL ({purpose})", _postgres(place, purpose)
    yield "Qdrant", lambda: place.qdrant.findings("backup")
    yield "Redis", lambda: place.redis.findings("backup")
    yield "PostgreSQL programs", lambda: _postgres_programs(place)
    yield "Redis program", lambda: _redis_program(place)
    yield "server control", lambda: _server_control(place)


def _examine(subject: str, look: Callable[[], Sequence[Finding]]) -> Examined:
    """A fault while looking is a finding as well: doctor looks at the rest."""
    try:
        found = tuple(sorted(look(), key=lambda finding: RANK[finding.severity]))
    except AeternaError as error:
        mend = "; ".join([error.hint, *error.next_steps]).strip("; ")
        found = (Finding(error.code, "error", subject, error.message, mend),)
    return Examined(subject, found)


def _postgres(place: Deployment, purpose: str) -> Callable[[], Sequence[Finding]]:
    return lambda: place.postgres.findings(purpose)  # type: ignore[arg-type]  # three literals above


def _repository(place: Deployment) -> Sequence[Finding]:
    _ = place.repository  # opened, and compared with its pins
    return ()


def _key_service(place: Deployment) -> Sequence[Finding]:
    return place.key_service.probe()  # opened here, so that a wrong setting is a finding too


def _offline_recipients(place: Deployment) -> Sequence[Finding]:
    if place.profile.keys.offline_recipients:
        return ()
    severity = "error" if place.profile.environment == "production" else "info"
    return [
        Finding(
            "offline_recipient_missing",
            severity,
            "keys.offline_recipients",
            "no offline recipient: without the key service no backup can be opened",
            "age-keygen on another machine; its public key into keys.offline_recipients",
        )
    ]


def _signing_key(place: Deployment) -> Sequence[Finding]:
    from aeterna_cli.repository.signing import SigningKey

    key = SigningKey.load(place.signing_key_file)
    if key.public == place.repository.info.public_key:
        return ()
    return [
        Finding(
            "signing_key_differs",
            "error",
            str(place.signing_key_file),
            "this is not the key that the repository was made with",
            "put the original key back: manifests signed by another key are refused",
        )
    ]


def _postgres_programs(place: Deployment) -> Sequence[Finding]:
    binaries.postgres_bin(place.postgres.identity().major, place.profile.postgres.bin_dir)
    return ()


def _redis_program(place: Deployment) -> Sequence[Finding]:
    binaries.redis_server(place.profile.redis.server_binary)
    return ()


def _server_control(place: Deployment) -> Sequence[Finding]:
    if place.server_control.can_hand_over("postgres"):
        return ()
    return [
        Finding(
            "no_server_control",
            "info",
            "server_control",
            "a restored PostgreSQL data directory will be left beside, to be put in place by hand",
            "set server_control in the profile",
        )
    ]


def _view(diagnosis: Diagnosis) -> Table:
    rows = [
        [one.subject, finding.severity, finding.message, finding.mend]
        for one in diagnosis.examined
        for finding in one.findings or (Finding("", "ok", "", "", ""),)
    ]
    return Table(
        ["subject", "state", "finding", "mend"],
        rows,
        title=f"profile {diagnosis.profile}",
        footer=f"{diagnosis.errors} errors, {diagnosis.warnings} warnings",
    )
