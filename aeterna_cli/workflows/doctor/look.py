"""One thing to look at, and what came of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from aeterna_cli.errors import AeternaError
from aeterna_cli.stores.base.findings import Finding

RANK = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Seen:
    """What a look found: an answer for people, and what is to say about it; empty is well."""

    answer: str = ""
    findings: Sequence[Finding] = ()


@dataclass(frozen=True)
class Look:
    """``needs`` is the subject of an earlier look: where that one failed or found an error, this
    is not tried."""

    subject: str
    see: Callable[[], Seen]
    needs: str = ""


@dataclass(frozen=True)
class Examined:
    """One thing that was looked at. ``answered`` False: the look itself failed."""

    subject: str
    answered: bool
    answer: str
    findings: tuple[Finding, ...]


def examine(looks: Iterable[Look]) -> list[Examined]:
    """Every look in its order. A fault while looking is a finding as well; the rest goes on."""
    done: list[Examined] = []
    failed: set[str] = set()
    for look in looks:
        one = _unasked(look) if look.needs in failed else _examine(look)
        if not one.answered or any(f.severity == "error" for f in one.findings):
            failed.add(look.subject)
        done.append(one)
    return done


def _examine(look: Look) -> Examined:
    try:
        seen = look.see()
    except AeternaError as error:
        mend = "; ".join(part for part in (error.hint, *error.next_steps) if part)
        found = Finding(error.code, "error", look.subject, error.message, mend, error.details)
        return Examined(look.subject, False, "", (found,))
    ranked = sorted(seen.findings, key=lambda finding: RANK[finding.severity])
    return Examined(look.subject, True, seen.answer, tuple(ranked))


def _unasked(look: Look) -> Examined:
    why = f"not looked at: mend {look.needs} first"
    found = Finding("not_examined", "info", look.subject, why)
    return Examined(look.subject, False, "", (found,))
