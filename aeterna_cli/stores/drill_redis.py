"""A drill's markers in Redis or Valkey: one sorted set below our own prefix."""

from aeterna_cli.errors import AeternaError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores.base.drill import NotSentError, Written
from aeterna_cli.stores.base.redis import OWN_PREFIX
from aeterna_cli.stores.redis import RedisServer

_NOT_SENT = frozenset({"redis_unreachable", "redis_no_primary", "sentinel_unreachable"})
#: the server answered, and its answer is that nothing was written
_REFUSED = frozenset({"redis_readonly", "redis_loading", "redis_busy", "redis_out_of_memory",
                      "redis_not_persisting"})  # fmt: skip


class RedisMarkers:
    """Numbers of ``aeterna-ops:drill:<id>``; each fault of a connection opens another one."""

    def __init__(self, settings: RedisSettings, drill: str, timeout: float) -> None:
        self._settings = settings.model_copy(update={"timeout": timeout})
        self._server = RedisServer(self._settings)
        self._key = OWN_PREFIX + b"drill:" + drill.encode("ascii")

    def close(self) -> None:
        self._server.close()

    def prepare(self) -> None:
        self._server.identity()

    def write(self, number: int) -> Written:
        """Acknowledged by the primary, which is all that Redis promises."""
        try:
            self._server.connection.call("ZADD", self._key, number, number)
        except AeternaError as error:
            self._server.close()
            if error.code in _NOT_SENT | _REFUSED:
                raise NotSentError(error.code, error.message) from error
            raise
        return Written(self._server.description)

    def read(self) -> set[int]:
        found = self._server.connection.call("ZRANGE", self._key, 0, -1)
        return {int(number) for number in found}

    def clear(self) -> None:
        self._server.connection.call("UNLINK", self._key)
