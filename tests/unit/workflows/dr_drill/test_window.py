"""Drills on production: named, and in their window."""

from datetime import UTC, datetime

import pytest

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.settings import DrillSettings, Profile
from aeterna_cli.workflows.dr_drill import window

SATURDAY = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment", "opened"),
    [
        ("Sat 02:00-05:00", "2026-11-28T02:00", True),
        ("Sat 02:00-05:00", "2026-11-28T05:00", False),
        ("Sat 02:00-05:00", "2026-11-27T03:00", False),
        ("Mon-Fri 22:00-02:00", "2026-11-27T23:00", True),
        ("Mon-Fri 22:00-02:00", "2026-11-28T01:59", True),
        ("Mon-Fri 22:00-02:00", "2026-11-28T22:30", False),
        ("Mon-Fri 22:00-02:00", "2026-11-23T01:00", False),
        ("Sat-Mon 00:00-24:00", "2026-11-29T12:00", True),
        ("Tue,Thu 01:00-02:30", "2026-11-26T01:30", True),
        ("Tue,Thu 01:00-02:30", "2026-11-25T01:30", False),
    ],
)
def test_open(text: str, moment: str, opened: bool) -> None:
    assert window.is_open(text, datetime.fromisoformat(moment).replace(tzinfo=UTC)) is opened


WRONG = ("always", "Sat", "Sat 2-5", "Xyz 02:00-05:00", "Sat 25:00-26:00", "Sat 02:00-05:61",
         "Sat 02:00-24:30")  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        window.is_open(text, SATURDAY)
    assert caught.value.code == "window_invalid"


def profile(environment: str, **drills: object) -> Profile:
    return Profile(environment=environment, drills=DrillSettings.model_validate(drills))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("drills", "code"),
    [
        ({}, "drill_not_allowed"),
        ({"allowed": ["other"], "window": "Sat 02:00-05:00"}, "drill_not_allowed"),
        ({"allowed": ["mine"]}, "drill_outside_window"),
        ({"allowed": ["mine"], "window": "Sun 02:00-05:00"}, "drill_outside_window"),
    ],
)
def test_production_refuses(drills: dict[str, object], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        window.refuse("mine", profile("production", **drills), SATURDAY)
    assert caught.value.code == code


def test_production_allows_by_name_and_window() -> None:
    drills = {"allowed": ["mine"], "window": "Sat 02:00-05:00"}
    window.refuse("mine", profile("production", **drills), SATURDAY)


def test_others_are_not_asked() -> None:
    window.refuse("mine", profile("staging"), SATURDAY)
