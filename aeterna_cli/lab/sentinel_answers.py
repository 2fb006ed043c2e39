"""What the lab's Sentinels say; asked in order, whoever answers."""

from contextlib import suppress
from typing import Any

from aeterna_cli.lab.names import SENTINELS
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.ports import LOOPBACK

MASTER = "aeterna-master"


def master(place: Place, sentinel: str) -> dict[str, Any]:
    """``SENTINEL MASTER`` of one of them; ``NotReady`` without an answer."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        with redis.Redis(
            host=LOOPBACK,
            port=place.ports[sentinel],
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        ) as server:
            found = server.execute_command("SENTINEL", "MASTER", MASTER)
    except redis.RedisError as error:
        raise NotReady(str(error)) from error
    return (
        dict(found) if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
    )


def primary(place: Place) -> tuple[str, int] | None:
    """Whom the first Sentinel that answers calls the primary; None where none does."""
    for sentinel in SENTINELS:
        if sentinel in place.ports:
            with suppress(NotReady):
                found = master(place, sentinel)
                return str(found["ip"]), int(found["port"])
    return None
