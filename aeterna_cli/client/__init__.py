"""What an application imports to honour placements: ``docs/formats.md`` has the rules.

It needs psycopg and nothing else of this tool::

    client = PlacementClient("host=... dbname=... user=...", instance="web-7", route_ttl=10)
    with client.writing(tenant) as placement:
        ...  # write at placement.primary, then at placement.secondary where there is one
    place = client.reading(tenant)
"""

from aeterna_cli.client.faults import (
    HeldTooLong,
    PlacementError,
    PlacementLapsed,
    PlacementUnavailable,
)
from aeterna_cli.client.placement_client import PlacementClient
from aeterna_cli.stores.base.placement import Placement, PointsPlace

__all__ = [
    "HeldTooLong",
    "Placement",
    "PlacementClient",
    "PlacementError",
    "PlacementLapsed",
    "PlacementUnavailable",
    "PointsPlace",
]
