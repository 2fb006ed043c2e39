"""Whether a drill may run here and now: production profiles name drills and a window, in UTC."""

import re
from datetime import UTC, datetime, timedelta

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.settings import Profile

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WINDOW = re.compile(
    r"(?P<days>[A-Z][a-z]{2}(?:[-,][A-Z][a-z]{2})*) "
    r"(?P<h1>\d\d):(?P<m1>\d\d)-(?P<h2>\d\d):(?P<m2>\d\d)\Z"
)


def refuse(name: str, profile: Profile, now: datetime) -> None:
    """Returns where the drill may begin; ``RefusedError('drill_not_allowed' |
    'drill_outside_window')``. Only production asks for either."""
    if profile.environment != "production":
        return
    if name not in profile.drills.allowed:
        raise RefusedError(
            "drill_not_allowed",
            f"the drill {name} is not allowed on this production profile",
            hint="drills.allowed of the profile names the drills that may run here",
            next_steps=["aeterna-cli dr-drill list"],
        )
    window = profile.drills.window
    if not window or not is_open(window, now):
        raise RefusedError(
            "drill_outside_window",
            f"drills may run here in the window {window!r} (UTC) only"
            if window
            else "no window is set in which drills may run here",
            hint=f"it is {now.astimezone(UTC):%a %H:%M} UTC",
            next_steps=["set drills.window of the profile, like 'Sat 02:00-05:00'"],
        )


def is_open(window: str, now: datetime) -> bool:
    """``Sat 02:00-05:00``, ``Mon-Fri 22:00-02:00``, ``Tue,Thu 01:00-02:30``; one that ends before
    it begins reaches into the next day. ``UsageError('window_invalid')``."""
    match = _WINDOW.match(window)
    if match is None:
        raise _invalid(window)
    begin = _minutes(window, match["h1"], match["m1"])
    end = _minutes(window, match["h2"], match["m2"])
    days, moment = _days(window, match["days"]), now.astimezone(UTC)
    minute, today = moment.hour * 60 + moment.minute, moment.weekday()
    if begin < end:
        return today in days and begin <= minute < end
    yesterday = (moment - timedelta(days=1)).weekday()
    return (today in days and minute >= begin) or (yesterday in days and minute < end)


def _days(window: str, text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last and last not in _DAYS):
            raise _invalid(window)
        number, stop = _DAYS.index(first), _DAYS.index(last or first)
        found.add(number)
        while number != stop:
            number = (number + 1) % 7
            found.add(number)
    return found


def _minutes(window: str, hours: str, minutes: str) -> int:
    if int(hours) > 24 or int(minutes) > 59 or (int(hours) == 24 and int(minutes)):
        raise _invalid(window)
    return int(hours) * 60 + int(minutes)


def _invalid(window: str) -> UsageError:
    return UsageError(
        "window_invalid", f"drills.window {window!r} is not a window",
        hint="like 'Sat 02:00-05:00' or 'Mon-Fri 22:00-02:00', in UTC",
    )  # fmt: skip
