"""``doctor``: what backup and restore need, looked at; every finding says what mends it."""

from collections.abc import Sequence
from dataclasses import dataclass

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError, UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.doctor import machine, platform, repository
from aeterna_cli.workflows.doctor.look import Examined, examine
from aeterna_cli.workflows.doctor.platform import Purpose

PURPOSES: tuple[Purpose, ...] = ("backup", "restore")


@dataclass(frozen=True)
class Diagnosis:
    profile: str
    purposes: tuple[Purpose, ...]
    examined: tuple[Examined, ...]
    errors: int
    warnings: int


def run(ctx: Context, purpose: str | None) -> Result:
    """Looks at everything even where something fails, for one purpose or both.

    Writes only below the repository's ``probe/``, and has Qdrant make and remove one tiny snapshot.
    The result is printed first; then errors and warnings end the command with exit 8.
    """
    wanted = PURPOSES if purpose is None else (a_purpose(purpose),)
    place = ctx.deployment
    examined = examine(
        [
            *repository.looks(place, wanted),
            *platform.looks(place, wanted),
            *machine.looks(place, wanted, ctx.clock),
        ]
    )
    found = [finding.severity for one in examined for finding in one.findings]
    errors, warnings = found.count("error"), found.count("warning")
    diagnosis = Diagnosis(place.name, wanted, tuple(examined), errors, warnings)
    result = Result("aeterna.doctor/1", diagnosis, lambda: _view(diagnosis))
    if errors or warnings:
        ctx.out.result(result)
        raise FindingsError(
            "doctor_findings",
            f"{errors} errors and {warnings} warnings",
            hint="each line above says what mends it",
        )
    return result


def a_purpose(text: str) -> Purpose:
    """``UsageError('purpose_unknown')`` for anything but backup and restore."""
    for purpose in PURPOSES:
        if text == purpose:
            return purpose
    raise UsageError("purpose_unknown", f"unknown purpose {text!r}: backup or restore")


def _view(diagnosis: Diagnosis) -> Table:
    return Table(
        ["subject", "state", "what", "mend"],
        [row for one in diagnosis.examined for row in _rows(one)],
        title=f"profile {diagnosis.profile}, {' and '.join(diagnosis.purposes)}",
        footer=f"{diagnosis.errors} errors, {diagnosis.warnings} warnings",
    )


def _rows(one: Examined) -> Sequence[Sequence[str]]:
    """A line for the answer, unless findings alone say everything."""
    answered = [[one.subject, "ok", one.answer, ""]] if one.answer or not one.findings else []
    return answered + [_row(one.subject, finding) for finding in one.findings]


def _row(subject: str, finding: Finding) -> list[str]:
    return [subject, finding.severity, f"{finding.subject}: {finding.message}", finding.mend]
