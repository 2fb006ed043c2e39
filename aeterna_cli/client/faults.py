"""What an application may meet; each says whether something was written."""


class PlacementError(Exception):
    """The placement of a tenant could not be honoured."""


class HeldTooLong(PlacementError):
    """Writes of the tenant were held for longer than the bound. Nothing was written: try again."""


class PlacementUnavailable(PlacementError):
    """PostgreSQL does not say where to write and what is cached is too old; nothing was written."""


class PlacementLapsed(PlacementError):
    """The write ended, but by a placement that this process could not vouch for all the time: it
    was stopped, or cut off from PostgreSQL, and a move may have gone on without it. Write it
    again: the same version at the same place is harmless."""
