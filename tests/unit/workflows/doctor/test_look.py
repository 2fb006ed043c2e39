"""One look after the other: a fault is a finding, what hangs on it is not tried, the rest is."""

from aeterna_cli.errors import TransientError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.doctor.look import Look, Seen, examine


def away() -> Seen:
    raise TransientError("away", "nobody answers", hint="start it", next_steps=["start", "wait"])


def test_a_fault_is_a_finding_and_the_rest_goes_on() -> None:
    asked: list[str] = []

    def unwanted() -> Seen:
        asked.append("unwanted")
        return Seen()

    looks = [
        Look("server", away),
        Look("its rows", unwanted, "server"),
        Look("their digest", unwanted, "its rows"),
        Look("another", lambda: Seen("well")),
    ]
    server, rows, digest, another = examine(looks)
    (finding,) = server.findings
    assert (finding.code, finding.severity, finding.mend) == (
        "away",
        "error",
        "start it; start; wait",
    )
    assert [one.code for one in (*rows.findings, *digest.findings)] == ["not_examined"] * 2
    assert not asked
    assert (another.answered, another.answer, another.findings) == (True, "well", ())


def test_the_worst_comes_first_and_an_error_ends_what_hangs_on_it() -> None:
    found = [Finding(how, how, "x", "x") for how in ("info", "error", "warning")]
    looks = [
        Look("keys", lambda: Seen("", found)),
        Look("unwrapping", lambda: Seen("tried"), "keys"),
        Look("warned", lambda: Seen("", found[::2])),
        Look("after a warning", lambda: Seen("tried"), "warned"),
    ]
    keys, unwrapping, _, after = examine(looks)
    assert [one.severity for one in keys.findings] == ["error", "warning", "info"]
    assert unwrapping.answer == ""
    assert after.answer == "tried"
