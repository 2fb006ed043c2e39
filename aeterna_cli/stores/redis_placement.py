"""Telling applications over Redis that a placement changed: a hint, never the truth."""

from aeterna_cli.errors import AeternaError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores.base.placement import REDIS_CHANNEL, Placement
from aeterna_cli.stores.redis_connection import RedisConnection


def publish(settings: RedisSettings, placement: Placement) -> str | None:
    """Publish ``placement.news``; the warning to show where that failed, else None. Never raises.

    Whoever misses it reads PostgreSQL within the route's time to live, as if nobody had listened.
    """
    connection = RedisConnection(settings)
    try:
        connection.call("PUBLISH", REDIS_CHANNEL, placement.news)
    except AeternaError as error:
        return f"Redis was not told of the placement's change: {error.message}"
    finally:
        connection.close()
    return None
